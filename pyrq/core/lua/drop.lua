-- drop: what silent consumers held is deleted. What has only landed for them was never taken, and waits again.
--
-- KEYS session queue timeouts consumers meta
-- ARGV lane sequence ttl timeout prefix landing_prefix now
-- REPLY {status, how many were dropped, 1 if there is more to do}
-- include lane
-- include stamp
-- include lease
-- include landing
-- include silent
-- include sweeping

local session, queue, timeouts, consumers, meta = unpack(KEYS)
local lane, sequence, ttl, timeout, prefix, landing_prefix, now = unpack(ARGV)
local LIMIT = 1000

local known = recall(session, lane, sequence, ttl)
if known then return known end

redis.call('LLEN', queue)
redis.call('HLEN', meta)
now = server_time(now)
local gone = silent(timeouts, consumers, prefix, timeout, now)
local lists, over = stray(consumers, landing_prefix, timeout == '', now)
local some = #gone + #lists + #over > 0
if some then begin(session, ttl) end
put_back_stray(queue, consumers, lists, over)
local dropped = 0
for i = 1, math.min(#gone, LIMIT) do
  redis.call('DEL', gone[i].key)
  forget(timeouts, consumers, prefix, gone[i].key)
  dropped = dropped + gone[i].length
end
local more = #gone > LIMIT and 1 or 0
local void = more == 0 and forget_void(timeouts, consumers, prefix) or 0
forget_sweeps(consumers, meta)
if not some and void == 0 then return {NOTHING, 0, 0} end
return remember(session, lane, sequence, ttl, dropped, more)
