-- What every script over sessions begins with. A session is one line of words: revision, refreshes, when it minted, when it
-- was opened, whose it is, what it is. A hash would be several times as heavy. Its key stands in three orders: of all by
-- minting, of all by opening, of its party by minting.
local prefix = '{broker}:'
local idle, opened, ends = prefix .. 'idle', prefix .. 'opened', prefix .. 'ends'
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local function text(number) return string.format('%.0f', number) end
local function read(member)
  local line = redis.call('GET', prefix .. 's:' .. member)
  if line then return string.match(line, '^(%d+) (%d+) (%d+) (%d+) (%S+) (.+)$') end
end
local function forget(member)
  local _, _, _, _, whose = read(member)
  redis.call('DEL', prefix .. 's:' .. member)
  redis.call('ZREM', idle, member)
  redis.call('ZREM', opened, member)
  if whose then redis.call('ZREM', prefix .. 'p:' .. whose, member) end
end
-- Its time to live is what SET is told of it; that of its orders is as long as a new session's.
local function write(member, revision, refreshes, minted, born, whose, what, lives, ...)
  local words = {text(revision), text(refreshes), text(minted), text(born), whose, what}
  redis.call('SET', prefix .. 's:' .. member, table.concat(words, ' '), ...)
  redis.call('ZADD', idle, text(minted), member)
  redis.call('ZADD', prefix .. 'p:' .. whose, text(minted), member)
  for _, order in ipairs({idle, opened, prefix .. 'p:' .. whose}) do redis.call('PEXPIRE', order, lives) end
end
