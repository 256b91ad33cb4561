-- pool_delete: items leave the pool, handed out or not.
--
-- KEYS session queue
-- ARGV lane sequence ttl item...
-- REPLY {status, how many were in the pool}
-- include lane

local session, pool = unpack(KEYS)
local lane, sequence, ttl = unpack(ARGV, 1, 3)
local FIRST = 4

local known = recall(session, lane, sequence, ttl)
if known then return known end

local deleted = redis.call('ZREM', pool, unpack(ARGV, FIRST))
if deleted == 0 then return {NOTHING, 0} end
return remember(session, lane, sequence, ttl, deleted)
