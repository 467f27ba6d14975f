-- Forgets some sessions that have ended. ARGV: longest age, most of one turn. Answers how many.
local ended = redis.call('ZRANGEBYSCORE', opened, '-inf', text(clock() - ARGV[1]), 'LIMIT', 0, ARGV[2])
for _, member in ipairs(ended) do forget(member) end
return #ended
