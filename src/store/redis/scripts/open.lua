-- Adds a session; others give way when there are too many.
--
-- ARGV: member, party, what it is, revision, ages since it was opened and since it minted, most of one party, most of
-- all, time to live in milliseconds, and when it counts: always, over an older revision only, or also over none.
local member, party, revision = ARGV[1], prefix .. 'p:' .. ARGV[2], tonumber(ARGV[4])
local now = clock()
local key = prefix .. 's:' .. member
local known = tonumber(redis.call('HGET', key, 'r'))
if ARGV[10] == 'older' and not known then return 0 end
if ARGV[10] ~= 'always' and known and known >= revision then return 0 end
if not known then
  while redis.call('ZCARD', party) >= tonumber(ARGV[7]) do
    local oldest = redis.call('ZRANGE', party, 0, 0)[1]
    forget(oldest)
    redis.call('ZREM', party, oldest)
  end
  while redis.call('ZCARD', idle) >= tonumber(ARGV[8]) do
    forget(redis.call('ZRANGE', idle, 0, 0)[1])
  end
end
local born, minted = text(now - ARGV[5]), text(now - ARGV[6])
redis.call('HSET', key, 'd', ARGV[3], 'p', ARGV[2], 'r', text(revision), 'o', born, 'm', minted)
redis.call('ZADD', idle, minted, member)
redis.call('ZADD', opened, born, member)
redis.call('ZADD', party, minted, member)
redis.call('PEXPIRE', key, ARGV[9])
redis.call('PEXPIRE', party, ARGV[9])
return 1
