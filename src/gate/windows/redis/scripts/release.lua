-- Gives back the places of one admitted request. KEYS: its windows. ARGV: the stamp of each.
for place = 1, #KEYS do
  -- From the newest: a place that is given back was taken a moment ago.
  redis.call('LREM', KEYS[place], -1, ARGV[place])
end
return 1
