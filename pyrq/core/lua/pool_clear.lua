-- pool_clear: all items leave the pool. UNLINK frees a large one beside other calls.
--
-- KEYS session queue
-- ARGV lane sequence ttl
-- REPLY {status, how many were in the pool}
-- include lane

local session, pool = unpack(KEYS)
local lane, sequence, ttl = unpack(ARGV)

local known = recall(session, lane, sequence, ttl)
if known then return known end

local count = redis.call('ZCARD', pool)
if count == 0 then return {NOTHING, 0} end
redis.call('UNLINK', pool)
return remember(session, lane, sequence, ttl, count)
