-- Adds an offence to the score of a party. A full score becomes a block.
--
-- KEYS: the block, the score, the order of all blocks by their end, the order of all scores by the moment they have
-- drained, the count of the party's refusals under one limit.
-- ARGV: points; least time between two offences of this kind that count (0: all count); points that earn a block; points
-- that drain in a step; in microseconds a step, the first block, the longest block; the highest number of blocks and of
-- scores; the party; the beginning of the keys of blocks; refusals that are no offence, and the milliseconds in which they
-- are counted (0: refusals are not counted).
-- Answers nothing or, when exactly this offence earned a block, {how long it lasts, how many came before}.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local points, rarely, full = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local drains, step = tonumber(ARGV[4]), tonumber(ARGV[5])
local first, longest = tonumber(ARGV[6]), tonumber(ARGV[7])
local capacity, member, blocks = tonumber(ARGV[8]), ARGV[9], ARGV[10]
local tolerated, counted_in = tonumber(ARGV[11]), tonumber(ARGV[12])
local text = function(number) return string.format('%.0f', number) end

if counted_in > 0 then
  local refusals = redis.call('INCR', KEYS[5])
  if refusals == 1 then redis.call('PEXPIRE', KEYS[5], ARGV[12]) end
  if refusals <= tolerated then return nil end
end

local block = redis.call('HMGET', KEYS[1], 'ends', 'repetition')
local ends = tonumber(block[1])
if ends and ends > now then return nil end

local score = redis.call('HMGET', KEYS[2], 'points', 'drained', 'rare')
local held, drained, rare = tonumber(score[1]) or 0, tonumber(score[2]) or now, tonumber(score[3])
local passed = math.max(0, math.floor((now - drained) / step))
held = math.max(0, held - drains * passed)
drained = held == 0 and now or drained + step * passed
if rarely > 0 then
  if rare and now - rare < rarely then return nil end
  rare = now
end
held = held + points
if held < full then
  local drains_at = now + (math.ceil(held / drains) + 1) * step
  -- A newcomer to a full table is not remembered.
  if not score[1] then
    local drained_ones = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', text(now), 'LIMIT', 0, 100)
    if #drained_ones > 0 then redis.call('ZREM', KEYS[4], unpack(drained_ones)) end
    if redis.call('ZCARD', KEYS[4]) >= capacity then return nil end
  end
  redis.call('HSET', KEYS[2], 'points', text(held), 'drained', text(drained))
  if rare then redis.call('HSET', KEYS[2], 'rare', text(rare)) end
  local lives = text(math.ceil((drains_at - now) / 1000) + 1000)
  redis.call('PEXPIRE', KEYS[2], lives)
  redis.call('ZADD', KEYS[4], text(drains_at), member)
  redis.call('PEXPIRE', KEYS[4], text(math.max(lives, redis.call('PTTL', KEYS[4]))))
  return nil
end
redis.call('DEL', KEYS[2])
redis.call('ZREM', KEYS[4], member)
local repetition = 0
if ends and ends + longest > now then repetition = tonumber(block[2]) + 1 end
local lasts = math.min(first * 2 ^ repetition, longest)
local forgotten = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', text(now - longest), 'LIMIT', 0, 100)
if #forgotten > 0 then redis.call('ZREM', KEYS[3], unpack(forgotten)) end
if not redis.call('ZSCORE', KEYS[3], member) and redis.call('ZCARD', KEYS[3]) >= capacity then
  -- A flood of newcomers frees nobody: only a block that has ended, or was earned less often, is evicted.
  local soonest = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
  local earned = tonumber(redis.call('HGET', blocks .. soonest[1], 'repetition')) or 0
  if tonumber(soonest[2]) > now and earned >= repetition then return nil end
  redis.call('DEL', blocks .. soonest[1])
  redis.call('ZREM', KEYS[3], soonest[1])
end
local lives = text(math.ceil((lasts + longest) / 1000))
redis.call('HSET', KEYS[1], 'ends', text(now + lasts), 'repetition', text(repetition))
redis.call('PEXPIRE', KEYS[1], lives)
redis.call('ZADD', KEYS[3], text(now + lasts), member)
redis.call('PEXPIRE', KEYS[3], text(math.max(lives, redis.call('PTTL', KEYS[3]))))
return {lasts, repetition}
