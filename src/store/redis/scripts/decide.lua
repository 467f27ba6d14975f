-- One decision over all claims of a request: blocked? has every window a place? then take them all.
--
-- KEYS: the address' block, then the window of each claim: a list of stamps in microseconds, oldest first.
-- ARGV: 1 when a block counts, else 0; then limit, window and time to live of each claim, in microseconds and milliseconds.
-- Answers {2, wait} when blocked; else {0 admitted or 1 refused, now, and held and oldest of each claim}.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if ARGV[1] == '1' then
  local ends = tonumber(redis.call('HGET', KEYS[1], 'ends'))
  if ends and ends > now then return {2, ends - now} end
end
-- A clock that was set back must not disorder a window.
for place = 2, #KEYS do
  local last = tonumber(redis.call('LINDEX', KEYS[place], -1))
  if last and last > now then now = last end
end
local told, verdict = {0, now}, 0
for place = 2, #KEYS do
  local limit, window = tonumber(ARGV[3 * place - 4]), tonumber(ARGV[3 * place - 3])
  local gone, head
  repeat
    head, gone = redis.call('LRANGE', KEYS[place], 0, 127), 0
    while gone < #head and head[gone + 1] + window <= now do gone = gone + 1 end
    if gone > 0 then redis.call('LTRIM', KEYS[place], gone, -1) end
  until gone < 128
  local held = redis.call('LLEN', KEYS[place])
  if held >= limit then verdict = 1 end
  told[#told + 1] = held
  told[#told + 1] = tonumber(head[gone + 1] or now)
end
told[1] = verdict
if verdict == 0 then
  local stamp = string.format('%.0f', now)
  for place = 2, #KEYS do
    redis.call('RPUSH', KEYS[place], stamp)
    redis.call('PEXPIRE', KEYS[place], ARGV[3 * place - 2])
  end
end
return told
