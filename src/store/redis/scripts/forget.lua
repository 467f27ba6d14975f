-- What every script over sessions begins with. A session is a hash: d (what it is), p (whose), r (revision), o (opened),
-- m (minted), n (refreshes); its key stands in three orders: of all by minting, of all by opening, of its party by minting.
local prefix = '{broker}:'
local idle, opened = prefix .. 'idle', prefix .. 'opened'
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local function text(number) return string.format('%.0f', number) end
local function forget(member)
  local party = redis.call('HGET', prefix .. 's:' .. member, 'p')
  redis.call('DEL', prefix .. 's:' .. member)
  redis.call('ZREM', idle, member)
  redis.call('ZREM', opened, member)
  if party then redis.call('ZREM', prefix .. 'p:' .. party, member) end
end
local function move(member, party, revision, refreshes, minted, lives)
  redis.call('HSET', prefix .. 's:' .. member, 'r', text(revision), 'n', text(refreshes), 'm', text(minted))
  redis.call('ZADD', idle, text(minted), member)
  redis.call('ZADD', prefix .. 'p:' .. party, text(minted), member)
  redis.call('PEXPIRE', prefix .. 'p:' .. party, lives)
end
