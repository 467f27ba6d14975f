-- Reads a session and, when it is ripe, refreshes it.
--
-- ARGV: member, whose it must be (empty: anybody's), least time since it minted, most refreshes, longest age, time to live
-- of its party's order in milliseconds. Answers {} or {what it is, whose, revision, refreshes, age since it was opened, age
-- since it minted, 1 when it has moved on, else 0}, as it was before.
local revision, refreshes, minted, born, whose, what = read(ARGV[1])
if not what then return {} end
local now = clock()
local age, rest = math.max(0, now - born), math.max(0, now - minted)
local moved = (ARGV[2] == '' or ARGV[2] == whose)
  and age < tonumber(ARGV[5])
  and tonumber(refreshes) < tonumber(ARGV[4])
  and rest >= tonumber(ARGV[3])
if moved then write(ARGV[1], revision + 1, refreshes + 1, now, born, whose, what, ARGV[6], 'KEEPTTL') end
return {what, whose, revision, refreshes, text(age), text(rest), moved and '1' or '0'}
