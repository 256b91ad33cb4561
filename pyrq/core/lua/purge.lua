-- purge: the dead letters are deleted.
--
-- KEYS session dead
-- ARGV lane sequence ttl
-- REPLY {status, how many}
-- include lane

local session, dead = unpack(KEYS)
local lane, sequence, ttl = unpack(ARGV)

local known = recall(session, lane, sequence, ttl)
if known then return known end

local size = redis.call('LLEN', dead)
if size == 0 then return {NOTHING, 0} end
redis.call('DEL', dead)
return remember(session, lane, sequence, ttl, size)
