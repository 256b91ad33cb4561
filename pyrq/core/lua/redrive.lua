-- redrive: the oldest dead letters become items again, at the end of the queue. In a queue of unique items, one that
-- waits does not.
--
-- KEYS session queue dead
-- ARGV lane sequence ttl count
-- REPLY {status, how many left the dead letters}
-- include lane
-- include waiting_KIND

local session, queue, dead = unpack(KEYS)
local lane, sequence, ttl, count = unpack(ARGV)

local known = recall(session, lane, sequence, ttl)
if known then return known end

read_waiting(queue)
local letters = redis.call('LRANGE', dead, -tonumber(count), -1)
local size = #letters
if size == 0 then return {NOTHING, 0} end

local items = {}
for i = 1, size do
  local letter = letters[size + 1 - i]
  local consumer, reason, rest = string.match(letter, '^%d+%.?%d* %d+ (%d+) (%d+)\n(.*)$')
  -- What is shorter than it says was not written by this library.
  items[i] = rest and consumer + reason <= #rest and string.sub(rest, consumer + reason + 1) or letter
end
begin(session, ttl)
join_late(queue, items)
redis.call('LTRIM', dead, 0, -size - 1)
return remember(session, lane, sequence, ttl, size)
