-- Gives back the places of one admitted request. KEYS: its windows. ARGV: its stamp.
for place = 1, #KEYS do
  -- Looks at the newest first: what is given back was taken a moment ago.
  redis.call('LREM', KEYS[place], -1, ARGV[1])
end
return 1
