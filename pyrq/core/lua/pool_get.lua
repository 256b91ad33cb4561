-- pool_get: items that are due are handed out, the one due first before the others; each is due again `ack_ttl` seconds
-- from now.
--
-- What it handed out is not remembered: sent again after a lost reply, it hands out others. Sent again after a later
-- call of its lane, it does nothing.
--
-- KEYS session queue
-- ARGV lane sequence ttl count ack_ttl due now
-- REPLY {status, {item, ...}, unix seconds by which they were due}
-- include lane
-- include stamp
-- include leases

local session, pool = unpack(KEYS)
local lane, sequence, ttl, count, ack_ttl, due, now = unpack(ARGV)

local known = recall(session, lane, sequence, ttl)
if known and known[1] == STALE then return known end

now = server_time(now)
if due == '' then due = seconds_from(now, 0) end
local items = redis.call('ZRANGEBYSCORE', pool, '-inf', due, 'LIMIT', 0, count)
if #items == 0 then return {NOTHING, items, due} end
begin(session, ttl)
-- Not before what was due: a clock that was set back must not make a get of everything meet its own items again.
schedule(pool, items, seconds_from(math.max(tonumber(now), tonumber(due)), ack_ttl) .. MARK)
remember(session, lane, sequence, ttl)
return {DONE, items, due}
