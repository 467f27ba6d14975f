-- Adds a session; others give way when there are too many.
--
-- ARGV: member, party, what it is, revision, refreshes, ages since it minted and since it was opened, most of one party,
-- most of all, time to live in milliseconds, and when it counts: always, over an older revision only, or also over none.
local member, party, revision = ARGV[1], prefix .. 'p:' .. ARGV[2], tonumber(ARGV[4])
local now = clock()
local known = tonumber((read(member)))
if ARGV[11] == 'older' and not known then return 0 end
if ARGV[11] ~= 'always' and known and known >= revision then return 0 end
if not known then
  while redis.call('ZCARD', party) >= tonumber(ARGV[8]) do
    local oldest = redis.call('ZRANGE', party, 0, 0)[1]
    forget(oldest)
    redis.call('ZREM', party, oldest)
  end
  while redis.call('ZCARD', idle) >= tonumber(ARGV[9]) do
    forget(redis.call('ZRANGE', idle, 0, 0)[1])
  end
end
local born = now - ARGV[7]
redis.call('ZADD', opened, text(born), member)
write(member, revision, ARGV[5], now - ARGV[6], born, ARGV[2], ARGV[3], ARGV[10], 'PX', ARGV[10])
return 1
