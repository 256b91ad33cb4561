-- re_enqueue: what silent consumers held goes back, as the next out; the consumer with the oldest contact first.
--
-- A call moves up to 1,000 items, from the newest end of the consumer with the latest contact, so that the oldest go
-- in last and come out first. A longer list is first taken from its consumer whole, by renaming it: a consumer that
-- comes back must not find a part of what it held.
--
-- Where there is a `most`, an item goes back only until it was delivered so often; then it becomes a dead letter.
--
-- KEYS session queue timeouts consumers deliveries dead meta
-- ARGV lane sequence ttl timeout prefix landing_prefix most dead_max reason now
-- REPLY {status, how many went back, 1 if there is more to do}
-- include lane
-- include stamp
-- include lease
-- include landing
-- include silent
-- include swept
-- include deliveries
-- include letters
-- include sweeping
-- include waiting_KIND

local session, queue, timeouts, consumers, deliveries, dead, meta = unpack(KEYS)
local lane, sequence, ttl, timeout, prefix, landing_prefix, most, dead_max, reason, now = unpack(ARGV)
local LIMIT = 1000

local known = recall(session, lane, sequence, ttl)
if known then return known end

read_waiting(queue)
redis.call('HLEN', timeouts)
redis.call('HLEN', consumers)
redis.call('LLEN', dead)
redis.call('HLEN', meta)
has_counts(deliveries)
now = server_time(now)
local moved, back, more, written = 0, 0, 0, false

-- Puts those of some items back, newest first, that may be delivered again; the others become dead letters.
local function deliver_again(key, items)
  if most == '' then return go_back(queue, items) end
  local again, counts, spent, counts_of_spent = divide(items, count_deliveries(deliveries, items), most)
  if #spent > 0 then
    local consumer = string.gsub(string.sub(key, #prefix + 1), TAKEN .. '$', '')
    write_letters(dead, dead_max, now, consumer, reason, reversed(spent), reversed(counts_of_spent))
  end
  keep_counts(deliveries, again, counts, spent, 0, SWEPT)
  return #again > 0 and go_back(queue, again) or 0
end

-- Moves the newest items of a list of some length; says whether that was all of it.
local function give_back(key, length)
  local items = redis.call('LRANGE', key, 0, LIMIT - 1)
  back = back + deliver_again(key, items)
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

local lists, over = stray(consumers, landing_prefix, timeout == '', now)
if #lists + #over > 0 then
  begin(session, ttl)
  written = true
  back = put_back_stray(queue, consumers, lists, over)
end
for _, consumer in ipairs(silent(timeouts, consumers, prefix, timeout, now)) do
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
forget_sweeps(consumers, meta)
if not written and void == 0 then return {NOTHING, 0, 0} end
return remember(session, lane, sequence, ttl, back, more)
