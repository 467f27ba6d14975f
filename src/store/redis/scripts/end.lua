-- Ends all sessions of a party. ARGV: party. Answers how many there were.
local party = prefix .. 'p:' .. ARGV[1]
local ended = 0
for _, member in ipairs(redis.call('ZRANGE', party, 0, -1)) do
  ended = ended + redis.call('EXISTS', prefix .. 's:' .. member)
  forget(member)
end
redis.call('DEL', party)
return ended
