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
local unseen = 0
-- A record that is larger than the list is void: an older library swept the list.
if taker ~= tonumber(received) and size <= redis.call('LLEN', processing) then unseen = size end

local answer = {}
local newest_first = unseen > 0 and redis.call('LRANGE', processing, 0, unseen - 1) or {}
for i = #newest_first, 1, -1 do answer[#answer + 1] = newest_first[i] end
if number == last then return {AGAIN, answer} end

local wanted = tonumber(count) - unseen
local waiting = wanted > 0 and redis.call('LRANGE', queue, -wanted, -1) or {}
if unseen + #waiting == 0 then return {NOTHING, {}} end

local moved = {}
for i = #waiting, 1, -1 do
  moved[#moved + 1] = waiting[i]
  answer[#answer + 1] = waiting[i]
end
begin(session, ttl)
if #moved > 0 then
  redis.call('LPUSH', processing, unpack(moved))
  redis.call('LTRIM', queue, 0, -#moved - 1)
end
redis.call('HSET', timeouts, processing, server_time(now))
redis.call('HSET', consumers, consumer, sequence .. ' ' .. #answer)
remember(session, lane, sequence, ttl)
return {DONE, answer}
