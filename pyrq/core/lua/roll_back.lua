-- roll_back: counts one more rollback of an item.
--
-- KEYS session retry_count retry_timeout
-- ARGV lane sequence ttl now item
-- REPLY {status, how many rollbacks, unix minutes of the first one, unix minutes now}
-- include lane
-- include stamp

local session, retry_count, retry_timeout = unpack(KEYS)
local lane, sequence, ttl, now, item = unpack(ARGV)

local known = recall(session, lane, sequence, ttl)
if known then return known end

-- Reads a whole number. Anybody may write into the hashes: what is none, or beyond any count or date, is ignored.
local function read(hash)
  local text = redis.call('HGET', hash, item) or ''
  return #text < 13 and tonumber(string.match(text, '^%d+$')) or nil
end

local minutes = math.floor(tonumber(server_time(now)) / 60)
local count, first = read(retry_count), read(retry_timeout)
if not count or not first then count, first = 0, minutes end
begin(session, ttl)
redis.call('HSET', retry_count, item, string.format('%.0f', count + 1))
redis.call('HSET', retry_timeout, item, string.format('%.0f', first))
return remember(session, lane, sequence, ttl, count + 1, first, minutes)
