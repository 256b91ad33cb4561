-- confirm: says again that a call has taken effect, writing something that propagates, so that a WAIT behind it means
-- something. A call that the server no longer knows of was lost in a failover, or its record has expired.
--
-- KEYS session
-- ARGV lane sequence ttl
-- REPLY {status}
-- include lane

local session = KEYS[1]
local lane, sequence, ttl = unpack(ARGV)

return recall(session, lane, sequence, ttl) or {STALE}
