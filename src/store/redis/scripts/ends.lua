-- The parties whose sessions have ended lately, the latest first. ARGV: how lately, most of one answer. Answers party and how long ago, by turns.
local now, told = clock(), {}
local found = redis.call('ZREVRANGEBYSCORE', ends, '+inf', text(now - ARGV[1]), 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for place = 1, #found, 2 do
  told[place] = found[place]
  told[place + 1] = text(math.max(0, now - found[place + 1]))
end
return told
