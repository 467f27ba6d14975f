-- Ends the sessions of a party: all, or those that were opened before a moment. ARGV: party, how long ago that moment was, or
-- nothing. Answers how many there were.
local party, ended = prefix .. 'p:' .. ARGV[1], 0
local before = ARGV[2] and clock() - ARGV[2] or math.huge
for _, member in ipairs(redis.call('ZRANGE', party, 0, -1)) do
  local _, _, _, born = read(member)
  if born and tonumber(born) < before then ended = ended + 1 end
  if not born or tonumber(born) < before then
    forget(member)
    redis.call('ZREM', party, member)
  end
end
return ended
