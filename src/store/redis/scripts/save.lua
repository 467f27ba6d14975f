-- Replaces a session that is still at a revision. ARGV: member, party, what it is, revision, refreshes, age since it minted,
-- time to live of its party's order in milliseconds. Answers 1 or 0.
local revision, _, _, born = read(ARGV[1])
if revision ~= ARGV[4] then return 0 end
write(ARGV[1], revision + 1, ARGV[5], clock() - ARGV[6], born, ARGV[2], ARGV[3], ARGV[7], 'KEEPTTL')
return 1
