-- Lists the blocks in force, the longest first.
--
-- KEYS: the order of all blocks by their end. ARGV: the highest number of answers, the beginning of the keys of blocks.
-- Answers {party, microseconds left, repetition} for each.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local found = redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', string.format('(%.0f', now), 'WITHSCORES', 'LIMIT', 0, ARGV[1])
local blocks = {}
for place = 1, #found, 2 do
  local repetition = tonumber(redis.call('HGET', ARGV[2] .. found[place], 'repetition')) or 0
  blocks[#blocks + 1] = {found[place], found[place + 1] - now, repetition}
end
return blocks
