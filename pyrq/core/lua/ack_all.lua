-- ack_all: all that the consumer holds is done with, if that is exactly what its last get brought.
--
-- It needs no items, it has a proof. The record of a get says how many of the newest entries are its own, and goes with
-- the first of them that is taken out by who has received it; only a get adds entries, and makes the record anew. So if
-- there is the record of the get that the caller last received, and as many entries as it speaks of, then these are the
-- items of that get, each of them, and nothing else. If they are not proved to be, nothing is done.
--
-- KEYS session processing timeouts consumers deliveries
-- ARGV lane sequence ttl received kept tenure consumer size
-- REPLY {status, how many were held, or -1: it is not proved}
-- include lane
-- include lease
-- include deliveries

local session, processing, timeouts, consumers, deliveries = unpack(KEYS)
local lane, sequence, ttl, received, kept, tenure, consumer, size = unpack(ARGV)

local known = recall(session, lane, sequence, ttl)
if known then return known end

redis.call('HLEN', timeouts)
local counted, held = has_counts(deliveries), redis.call('LLEN', processing)
local record, leased = unpack(redis.call('HMGET', consumers, consumer, consumer .. LEASE))
if kept ~= '0' then return {NOTHING, -1} end
if tenure ~= '0' and tenure ~= tenure_of(leased) then return {NOTHING, -1} end
if record ~= received .. ' ' .. size then return {NOTHING, -1} end
if held ~= tonumber(size) then return {NOTHING, -1} end

local items = counted and redis.call('LRANGE', processing, 0, -1)
-- This is allowed on a full server, and then so is what follows.
redis.call('DEL', processing)
if counted then redis.call('HDEL', deliveries, unpack(items)) end
redis.call('HDEL', timeouts, processing)
redis.call('HDEL', consumers, consumer, consumer .. LEASE)
return remember(session, lane, sequence, ttl, held)
