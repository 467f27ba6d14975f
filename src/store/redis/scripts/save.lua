-- Replaces a session that is still at a revision. ARGV: member, party, what it is, revision, refreshes, age since it minted,
-- time to live of its party's order in milliseconds. Answers 1 or 0.
local key = prefix .. 's:' .. ARGV[1]
if redis.call('HGET', key, 'r') ~= ARGV[4] then return 0 end
redis.call('HSET', key, 'd', ARGV[3])
move(ARGV[1], ARGV[2], ARGV[4] + 1, ARGV[5], clock() - ARGV[6], ARGV[7])
return 1
