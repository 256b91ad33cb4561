-- get: the oldest waiting items move to the consumer's processing list.
--
-- A get is confirmed by the next call, which says which get it last received. What the consumer has not received is
-- handed out again first. A get that runs late, or again, takes nothing.
--
-- KEYS session queue processing timeouts consumers
-- ARGV lane sequence ttl received consumer count now
-- REPLY {status, {item, ...}} oldest first
-- include lane
-- include stamp
-- include waiting_KIND

local session, queue, processing, timeouts, consumers = unpack(KEYS)
local lane, sequence, ttl, received, consumer, count, now = unpack(ARGV)

local number = tonumber(sequence)
local last = tonumber(string.match(redis.call('HGET', session, lane) or '0', '^%d+'))
local taker, size = string.match(redis.call('HGET', consumers, consumer) or '0 0', '^(%d+) (%d+)$')
taker, size = tonumber(taker), tonumber(size)
-- The session may have expired; the record has not.
last = math.max(last, taker)
if number < last then return {STALE} end

redis.call('HLEN', timeouts)
read_waiting(queue)
local unseen, length = 0, redis.call('LLEN', processing)
-- A record that is larger than the list is void: an older library swept the list.
if taker ~= tonumber(received) and size <= length then unseen = size end

-- Gives the entries of a part of a list from its tail to its head.
local function read_oldest_first(list, first, last)
  local entries = redis.call('LRANGE', list, first, last)
  local size = #entries
  for i = 1, size / 2 do entries[i], entries[size + 1 - i] = entries[size + 1 - i], entries[i] end
  return entries
end

local answer = unseen > 0 and read_oldest_first(processing, 0, unseen - 1) or {}
if number == last then return {AGAIN, answer} end

local wanted = tonumber(count) - unseen
local waiting = wanted > 0 and read_oldest_first(queue, -wanted, -1) or {}
local size = #waiting
if unseen + size == 0 then return {NOTHING, {}} end

if unseen == 0 then
  answer = waiting
else
  for i = 1, size do answer[unseen + i] = waiting[i] end
end
begin(session, ttl)
if size > 0 then
  redis.call('LPUSH', processing, unpack(waiting))
  leave(unpack(waiting))
  redis.call('LTRIM', queue, 0, -size - 1)
end
redis.call('HSET', timeouts, processing, server_time(now))
redis.call('HSET', consumers, consumer, sequence .. ' ' .. unseen + size)
remember(session, lane, sequence, ttl)
return {DONE, answer}
