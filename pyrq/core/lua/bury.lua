-- bury: items that the consumer holds and can't use become dead letters.
--
-- KEYS session processing timeouts consumers deliveries dead
-- ARGV lane sequence ttl received kept tenure consumer dead_max reason now item...
-- REPLY {status, how many were held}
-- include lane
-- include stamp
-- include lease
-- include held
-- include deliveries
-- include letters

local session, processing, timeouts, consumers, deliveries, dead = unpack(KEYS)
local lane, sequence, ttl, received, kept, tenure, consumer, dead_max, reason, now = unpack(ARGV, 1, 10)
local FIRST = 11

local known = recall(session, lane, sequence, ttl)
if known then return known end

redis.call('LLEN', dead)
redis.call('HLEN', timeouts)
local hidden, _, confirmed = out_of_reach(processing, consumers, consumer, received, kept, tenure)
local plan = find_held(processing, hidden, FIRST)
if plan.size == 0 then return {NOTHING, 0} end

local items = reversed(found_last_first(plan, FIRST))
local counts = count_deliveries(deliveries, items)
begin(session, ttl)
write_letters(dead, dead_max, server_time(now), consumer, reason, items, counts)
keep_counts(deliveries, {}, {}, items, 0, '')
remove_held(processing, plan, session .. ' ' .. lane .. ' ' .. sequence)
tidy(processing, timeouts, consumers, consumer, confirmed)
return remember(session, lane, sequence, ttl, plan.size)
