-- pause: consumers are to stop taking.
--
-- KEYS session meta
-- ARGV lane sequence ttl now
-- REPLY {status, 1 if they did take until now}
-- include lane
-- include stamp

local session, meta = unpack(KEYS)
local lane, sequence, ttl, now = unpack(ARGV)

local known = recall(session, lane, sequence, ttl)
if known then return known end

if redis.call('HGET', meta, 'paused') then return {NOTHING, 0} end
begin(session, ttl)
redis.call('HSET', meta, 'paused', server_time(now))
return remember(session, lane, sequence, ttl, 1)
