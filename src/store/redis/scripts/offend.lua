-- Adds an offence to an address' score; a full score becomes a block.
--
-- KEYS: the block, the score. ARGV: points, least time between two of this kind that count (0: all count), points that
-- earn a block, points that drain in a step, and in microseconds: a step, the first block, the longest.
-- Answers {} or, when exactly this offence earned a block, {how long it lasts, how many came before}.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local points, rarely, full = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local drains, step = tonumber(ARGV[4]), tonumber(ARGV[5])
local first, longest = tonumber(ARGV[6]), tonumber(ARGV[7])
local text = function(number) return string.format('%.0f', number) end

local block = redis.call('HMGET', KEYS[1], 'ends', 'repetition')
local ends = tonumber(block[1])
if ends and ends > now then return {} end

local score = redis.call('HMGET', KEYS[2], 'points', 'drained', 'rare')
local held, drained, rare = tonumber(score[1]) or 0, tonumber(score[2]) or now, tonumber(score[3])
local passed = math.max(0, math.floor((now - drained) / step))
held = math.max(0, held - drains * passed)
drained = held == 0 and now or drained + step * passed
if rarely > 0 then
  if rare and now - rare < rarely then return {} end
  rare = now
end
held = held + points
if held < full then
  redis.call('HSET', KEYS[2], 'points', text(held), 'drained', text(drained))
  if rare then redis.call('HSET', KEYS[2], 'rare', text(rare)) end
  redis.call('PEXPIRE', KEYS[2], text(math.ceil((math.ceil(held / drains) + 1) * step / 1000) + 1000))
  return {}
end
redis.call('DEL', KEYS[2])
local repetition = 0
if ends and ends + longest > now then repetition = tonumber(block[2]) + 1 end
local lasts = math.min(first * 2 ^ repetition, longest)
redis.call('HSET', KEYS[1], 'ends', text(now + lasts), 'repetition', text(repetition))
redis.call('PEXPIRE', KEYS[1], text(math.ceil((lasts + longest) / 1000)))
return {lasts, repetition}
