-- reject: items that the consumer holds go back, as the next out, in the order given. In a queue of unique items, one
-- that waits again does not.
--
-- KEYS session queue processing timeouts consumers
-- ARGV lane sequence ttl received kept consumer item...
-- REPLY {status, how many were held}
-- include lane
-- include held
-- include waiting_KIND

local session, queue, processing, timeouts, consumers = unpack(KEYS)
local lane, sequence, ttl, received, kept, consumer = unpack(ARGV, 1, 6)
local FIRST = 7

local known = recall(session, lane, sequence, ttl)
if known then return known end

read_waiting(queue)
redis.call('HLEN', timeouts)
local hidden, _, confirmed = out_of_reach(processing, consumers, consumer, received, kept)
local plan = find_held(processing, hidden, FIRST)
local size = plan.size
if size == 0 then return {NOTHING, 0} end

begin(session, ttl)
go_back(queue, found_last_first(plan, FIRST))
remove_held(processing, plan, session .. ' ' .. lane .. ' ' .. sequence)
tidy(processing, timeouts, consumers, consumer, confirmed)
return remember(session, lane, sequence, ttl, size)
