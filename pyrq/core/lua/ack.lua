-- ack: items that the consumer holds are done with.
--
-- KEYS session processing timeouts consumers
-- ARGV lane sequence ttl received kept consumer item...
-- REPLY {status, how many were held}
-- include lane
-- include held

local session, processing, timeouts, consumers = unpack(KEYS)
local lane, sequence, ttl, received, kept, consumer = unpack(ARGV, 1, 6)
local FIRST = 7

local known = recall(session, lane, sequence, ttl)
if known then return known end

redis.call('HLEN', timeouts)
local hidden, _, confirmed = out_of_reach(processing, consumers, consumer, received, kept)
local removed = 0
if hidden == 0 and #ARGV - FIRST < FEW then
  for i = FIRST, #ARGV do removed = removed + redis.call('LREM', processing, -1, ARGV[i]) end
  if removed == 0 then return {NOTHING, 0} end
else
  local plan = find_held(processing, hidden, FIRST)
  removed = plan.size
  if removed == 0 then return {NOTHING, 0} end
  begin(session, ttl)
  remove_held(processing, plan, session .. ' ' .. lane .. ' ' .. sequence)
end
tidy(processing, timeouts, consumers, consumer, confirmed)
return remember(session, lane, sequence, ttl, removed)
