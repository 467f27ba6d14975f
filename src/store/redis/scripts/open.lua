-- Adds a session; others give way when there are too many.
--
-- ARGV: member, party, what it is, revision, refreshes, ages since it minted and since it was opened, most of one party,
-- most of all, longest age, time to live in milliseconds, and when it counts: always, over an older revision only, or also
-- over none. Answers 1, or 0 when it does not count.
local member, whose, revision, lives = ARGV[1], ARGV[2], tonumber(ARGV[4]), ARGV[11]
local now = clock()
local born, known = now - ARGV[7], tonumber((read(member)))
if ARGV[12] ~= 'always' then
  if known and known >= revision or not known and ARGV[12] == 'older' then return 0 end
  -- All sessions of its party have been ended since it was opened, where nobody knew of it.
  local ended = tonumber(redis.call('ZSCORE', ends, whose))
  if ended and ended >= born then return 0 end
end
-- Others wait meanwhile, so a crowd gives way by and by: the next ones do the rest.
local function give_way(order, most)
  local turns = 0
  while redis.call('ZCARD', order) >= most and turns < 100 do
    local first = redis.call('ZRANGE', order, 0, 0)[1]
    forget(first)
    redis.call('ZREM', order, first)
    turns = turns + 1
  end
end
if not known then
  -- What has ended gives way before what lives.
  local gone = redis.call('ZRANGEBYSCORE', opened, '-inf', text(now - ARGV[10]), 'LIMIT', 0, 2)
  for _, old in ipairs(gone) do forget(old) end
  give_way(prefix .. 'p:' .. whose, tonumber(ARGV[8]))
  give_way(idle, tonumber(ARGV[9]))
end
redis.call('ZADD', opened, text(born), member)
write(member, revision, ARGV[5], now - ARGV[6], born, whose, ARGV[3], lives, 'PX', lives)
return 1
