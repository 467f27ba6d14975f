-- Checks that the server accepts writes and does not evict keys. Answers the most memory it may use (0: no bound) and its
-- eviction policy. KEYS: one key that is written.
redis.call('SET', KEYS[1], '1', 'PX', 60000)
-- A user who may not call INFO gets no answer: then the operator is trusted.
local told = redis.pcall('INFO', 'memory')
if type(told) ~= 'string' then return {'0', ''} end
return {string.match(told, 'maxmemory:(%d+)') or '0', string.match(told, 'maxmemory_policy:(%S+)') or 'noeviction'}
