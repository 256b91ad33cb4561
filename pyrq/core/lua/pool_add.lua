-- pool_add: items are due now, whatever they were before.
--
-- KEYS session queue
-- ARGV lane sequence ttl now item...
-- REPLY {status, how many were not in the pool}
-- include lane
-- include stamp
-- include leases

local session, pool = unpack(KEYS)
local lane, sequence, ttl, now = unpack(ARGV, 1, 4)
local FIRST = 5

local known = recall(session, lane, sequence, ttl)
if known then return known end

-- The first write is the one that a full server refuses, and that fails on a wrong type: then nothing has changed.
local added = schedule(pool, {unpack(ARGV, FIRST)}, seconds_from(server_time(now), 0))
return remember(session, lane, sequence, ttl, added)
