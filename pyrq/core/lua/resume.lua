-- resume: consumers may take again.
--
-- KEYS session meta
-- ARGV lane sequence ttl
-- REPLY {status, 1 if the queue was paused}
-- include lane

local session, meta = unpack(KEYS)
local lane, sequence, ttl = unpack(ARGV)

local known = recall(session, lane, sequence, ttl)
if known then return known end

if redis.call('HDEL', meta, 'paused') == 0 then return {NOTHING, 0} end
return remember(session, lane, sequence, ttl, 1)
