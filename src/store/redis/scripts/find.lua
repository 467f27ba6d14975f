-- Reads a session. ARGV: member. Answers {} or {what it is, whose, revision, age since opened, age since minted}.
local found = redis.call('HMGET', prefix .. 's:' .. ARGV[1], 'd', 'p', 'r', 'o', 'm')
if not found[1] then return {} end
local now = clock()
return {found[1], found[2], found[3], text(math.max(0, now - found[4])), text(math.max(0, now - found[5]))}
