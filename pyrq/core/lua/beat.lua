-- beat: a consumer that holds something is alive; its lease begins anew. It also says which tenure goes on (0: none, it
-- was swept), and whether this consumer is to sweep.
--
-- KEYS session processing timeouts consumers meta
-- ARGV lane sequence ttl consumer lease now
-- REPLY {status, tenure, 1 if this consumer is to sweep}
-- include lane
-- include stamp
-- include lease
-- include sweeping

local session, processing, timeouts, consumers, meta = unpack(KEYS)
local lane, sequence, ttl, consumer, lease, now = unpack(ARGV)

local known = recall(session, lane, sequence, ttl)
if known then return known end

redis.call('HLEN', timeouts)
now = server_time(now)
local tenure = tenure_of(redis.call('HGET', consumers, consumer .. LEASE))
if not tenure or redis.call('LLEN', processing) == 0 then return {NOTHING, 0, 0} end
local sweeps = is_sweep_due(meta, lease, now)

begin(session, ttl)
if sweeps then redis.call('HSET', meta, 'swept', now) end
redis.call('HSET', timeouts, processing, now)
return remember(session, lane, sequence, ttl, tonumber(tenure), sweeps and 1 or 0)
