-- drop: what silent consumers held is deleted.
--
-- KEYS session timeouts consumers
-- ARGV lane sequence ttl timeout prefix now
-- REPLY {status, how many were dropped, 1 if there is more to do}
-- include lane
-- include stamp
-- include silent

local session, timeouts, consumers = unpack(KEYS)
local lane, sequence, ttl, timeout, prefix, now = unpack(ARGV)
local LIMIT = 1000

local known = recall(session, lane, sequence, ttl)
if known then return known end

redis.call('HLEN', consumers)
local gone = silent(timeouts, prefix, timeout, server_time(now))
if #gone == 0 and forget_void(timeouts, consumers, prefix) == 0 then return {NOTHING, 0, 0} end

begin(session, ttl)
local dropped = 0
for i = 1, math.min(#gone, LIMIT) do
  redis.call('DEL', gone[i].key)
  forget(timeouts, consumers, prefix, gone[i].key)
  dropped = dropped + gone[i].length
end
return remember(session, lane, sequence, ttl, dropped, #gone > LIMIT and 1 or 0)
