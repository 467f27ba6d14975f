-- Counts admissions from before this server began, latest first. A stamp that is not older than the oldest stamp in its
-- window was counted already, by this script or by a decision: so nothing is counted twice, however often this runs.
--
-- KEYS: windows, one for each admission. ARGV: limit, window, time to live and stamp of each, as in decide.lua.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
for place = 1, #KEYS do
  local limit, window = tonumber(ARGV[4 * place - 3]), tonumber(ARGV[4 * place - 2])
  local stamp = tonumber(ARGV[4 * place])
  local oldest = tonumber(redis.call('LINDEX', KEYS[place], 0))
  local is_new = stamp <= now and stamp + window > now and (not oldest or stamp < oldest)
  if is_new and redis.call('LLEN', KEYS[place]) < limit then
    redis.call('LPUSH', KEYS[place], ARGV[4 * place])
    redis.call('PEXPIRE', KEYS[place], ARGV[4 * place - 1])
  end
end
return 1
