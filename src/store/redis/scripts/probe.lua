-- How the server is. It must take what is written, and may not forget it: answers the most memory it may use (0: no bound)
-- and what becomes of keys when that is used up. KEYS: one that is written.
redis.call('SET', KEYS[1], '1', 'PX', 60000)
-- Who may not ask this is not told: then the operator's word counts.
local told = redis.pcall('INFO', 'memory')
if type(told) ~= 'string' then return {'0', ''} end
return {string.match(told, 'maxmemory:(%d+)') or '0', string.match(told, 'maxmemory_policy:(%S+)') or 'noeviction'}
