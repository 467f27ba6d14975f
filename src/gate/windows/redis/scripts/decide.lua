-- Decides over all claims of a request in one step: is the party blocked, has every window a free place, then take them all.
--
-- KEYS: the party's block, then the window of each claim: a list of stamps in microseconds, oldest first.
-- ARGV: 1 when the block counts, else 0; then limit, window and time to live of each claim, the window in microseconds and
-- the time to live in milliseconds.
-- Answers {the time that the block has left or 0, now, and for each claim {the number of stamps in its window, the stamp whose
-- leaving frees a place, the stamp that was or would be taken}}. Every window that holds fewer stamps than its limit: admitted.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if ARGV[1] == '1' then
  local ends = tonumber(redis.call('HGET', KEYS[1], 'ends'))
  if ends and ends > now then return {ends - now, now, {}} end
end
local told, is_full, stamps = {}, false, {}
for place = 2, #KEYS do
  local key, limit, window = KEYS[place], tonumber(ARGV[3 * place - 4]), tonumber(ARGV[3 * place - 3])
  -- A clock that was set back must not disorder a window, and a window that is ahead must not disorder other windows.
  local stamp = math.max(now, tonumber(redis.call('LINDEX', key, -1) or 0))
  local oldest = tonumber(redis.call('LINDEX', key, 0))
  -- Other requests wait meanwhile, so a long list is emptied by many decisions. Stamps still in the list count.
  local turns = 0
  while oldest and oldest + window <= stamp and turns < 32 do
    local head, gone = redis.call('LRANGE', key, 0, 127), 0
    while gone < #head and head[gone + 1] + window <= stamp do gone = gone + 1 end
    redis.call('LTRIM', key, gone, -1)
    oldest, turns = tonumber(redis.call('LINDEX', key, 0)), turns + 1
  end
  local held = oldest and redis.call('LLEN', key) or 0
  if held >= limit then is_full = true end
  -- A limit that was lowered leaves too many stamps in the list: a place is free when the surplus has left.
  if held > limit then oldest = tonumber(redis.call('LINDEX', key, held - limit)) end
  stamps[place] = string.format('%.0f', stamp)
  told[#told + 1] = {held, oldest or stamp, stamp}
end
if not is_full then
  for place = 2, #KEYS do
    redis.call('RPUSH', KEYS[place], stamps[place])
    redis.call('PEXPIRE', KEYS[place], ARGV[3 * place - 2])
  end
end
return {0, now, told}
