-- pool_ack: items that are handed out are done with; each is due again `ack_valid_for` seconds from now.
--
-- KEYS session queue
-- ARGV lane sequence ttl ack_valid_for now item...
-- REPLY {status, how many were handed out}
-- include lane
-- include stamp
-- include leases

local session, pool = unpack(KEYS)
local lane, sequence, ttl, ack_valid_for, now = unpack(ARGV, 1, 5)
local FIRST = 6

local known = recall(session, lane, sequence, ttl)
if known then return known end

local items = handed_out(pool, FIRST)
if #items == 0 then return {NOTHING, 0} end
begin(session, ttl)
schedule(pool, items, seconds_from(server_time(now), ack_valid_for))
return remember(session, lane, sequence, ttl, #items)
