-- re_enqueue: what silent consumers held goes back, as the next out; the consumer with the oldest contact first.
--
-- A call moves up to 1,000 items, from the newest end of the consumer with the latest contact, so that the oldest go
-- in last and come out first. A longer list is first taken from its consumer whole, by renaming it: a consumer that
-- comes back must not find a part of what it held.
--
-- KEYS session queue timeouts consumers
-- ARGV lane sequence ttl timeout prefix now
-- REPLY {status, how many went back, 1 if there is more to do}
-- include lane
-- include stamp
-- include silent
-- include waiting_KIND

local session, queue, timeouts, consumers = unpack(KEYS)
local lane, sequence, ttl, timeout, prefix, now = unpack(ARGV)
local LIMIT = 1000

local known = recall(session, lane, sequence, ttl)
if known then return known end

read_waiting(queue)
redis.call('HLEN', consumers)
local moved, back, more, written = 0, 0, 0, false

-- Moves the newest items of a list of some length; says whether that was all of it.
local function give_back(key, length)
  local items = redis.call('LRANGE', key, 0, LIMIT - 1)
  back = back + go_back(queue, items)
  redis.call('LTRIM', key, #items, -1)
  moved = moved + #items
  return #items == length
end

-- Takes a long list from its consumer, or goes on with one that was taken before.
local function take_away(key, stamp)
  if is_taken(key) then return key end
  local taken = key .. TAKEN
  if redis.call('EXISTS', taken) == 0 then
    redis.call('RENAME', key, taken)
    redis.call('HSET', timeouts, taken, stamp)
    forget(timeouts, consumers, prefix, key)
  end
  return taken
end

for _, consumer in ipairs(silent(timeouts, prefix, timeout, server_time(now))) do
  local key, length = consumer.key, consumer.length
  if moved > 0 and moved + length > LIMIT then more = 1 break end
  if not written then
    begin(session, ttl)
    written = true
  end
  if length > LIMIT then
    key = take_away(key, consumer.stamp)
    length = redis.call('LLEN', key)
  end
  local all = length == 0 or give_back(key, length)
  if all then forget(timeouts, consumers, prefix, key) end
  -- A list that was taken before may have stood in front of the consumer's own.
  if not all or key ~= consumer.key then more = 1 break end
end

local void = more == 0 and forget_void(timeouts, consumers, prefix) or 0
if not written and void == 0 then return {NOTHING, 0, 0} end
return remember(session, lane, sequence, ttl, back, more)
