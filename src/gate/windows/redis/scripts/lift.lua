-- Ends a block, and forgets the score and the earlier blocks of its party.
--
-- KEYS: the block, the score, the order of all blocks by their end, the order of all scores. ARGV: the party.
-- Answers 1 when the party was blocked, else 0.
local time = redis.call('TIME')
local ends = tonumber(redis.call('HGET', KEYS[1], 'ends'))
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
return (ends and ends > time[1] * 1000000 + time[2]) and 1 or 0
