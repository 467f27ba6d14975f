-- Adds a session; others give way when there are too many.
--
-- ARGV: member, party, what it is, revision, refreshes, ages since it minted and since it was opened, most of one party,
-- most of all, time to live in milliseconds, and when it counts: always, over an older revision only, or also over none.
local member, party, revision = ARGV[1], prefix .. 'p:' .. ARGV[2], tonumber(ARGV[4])
local now = clock()
local key = prefix .. 's:' .. member
local known = tonumber(redis.call('HGET', key, 'r'))
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
local born = text(now - ARGV[7])
redis.call('HSET', key, 'd', ARGV[3], 'p', ARGV[2], 'o', born)
redis.call('ZADD', opened, born, member)
redis.call('PEXPIRE', key, ARGV[10])
move(member, ARGV[2], revision, ARGV[5], now - ARGV[6], ARGV[10])
return 1
