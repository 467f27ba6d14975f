-- Ends the sessions of a party, and says so to replicas that are not there now.
--
-- ARGV: party, how long ago they ended, time to live in milliseconds. Answers how many there were.
local order, moment = prefix .. 'p:' .. ARGV[1], clock() - ARGV[2]
local ended = 0
for _, member in ipairs(redis.call('ZRANGE', order, 0, -1)) do
  local _, _, _, born = read(member)
  if not born or tonumber(born) <= moment then
    forget(member)
    redis.call('ZREM', order, member)
    if born then ended = ended + 1 end
  end
end
local last = tonumber(redis.call('ZSCORE', ends, ARGV[1]))
if not last or last < moment then redis.call('ZADD', ends, text(moment), ARGV[1]) end
redis.call('ZREMRANGEBYSCORE', ends, '-inf', text(clock() - ARGV[3] * 1000))
redis.call('PEXPIRE', ends, ARGV[3])
return ended
