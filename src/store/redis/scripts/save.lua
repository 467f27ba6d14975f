-- Replaces a session that is still at a revision. ARGV: member, party, what it is, revision, age since it minted, time to
-- live of its party's order in milliseconds. Answers 1 or 0.
local key = prefix .. 's:' .. ARGV[1]
local known = redis.call('HGET', key, 'r')
if not known or known ~= ARGV[4] then return 0 end
local minted = text(clock() - ARGV[5])
redis.call('HSET', key, 'd', ARGV[3], 'r', text(ARGV[4] + 1), 'm', minted)
redis.call('ZADD', idle, minted, ARGV[1])
redis.call('ZADD', prefix .. 'p:' .. ARGV[2], minted, ARGV[1])
redis.call('PEXPIRE', prefix .. 'p:' .. ARGV[2], ARGV[6])
return 1
