-- ack: items that the consumer holds are done with.
--
-- KEYS session processing timeouts consumers deliveries
-- ARGV lane sequence ttl received kept tenure consumer item...
-- REPLY {status, how many were held}
-- include lane
-- include lease
-- include held
-- include deliveries

local session, processing, timeouts, consumers, deliveries = unpack(KEYS)
local lane, sequence, ttl, received, kept, tenure, consumer = unpack(ARGV, 1, 7)
local FIRST = 8

local known = recall(session, lane, sequence, ttl)
if known then return known end

redis.call('HLEN', timeouts)
local hidden, _, confirmed = out_of_reach(processing, consumers, consumer, received, kept, tenure)
local counted, removed, done = has_counts(deliveries), 0, nil
if hidden == 0 and #ARGV - FIRST < FEW then
  done = {}
  for i = FIRST, #ARGV do
    if redis.call('LREM', processing, -1, ARGV[i]) == 1 then
      removed = removed + 1
      done[removed] = ARGV[i]
    end
  end
  if removed == 0 then return {NOTHING, 0} end
else
  local plan = find_held(processing, hidden, FIRST)
  removed = plan.size
  if removed == 0 then return {NOTHING, 0} end
  begin(session, ttl)
  if counted then done = found_last_first(plan, FIRST) end
  remove_held(processing, plan, session .. ' ' .. lane .. ' ' .. sequence)
end
if counted then redis.call('HDEL', deliveries, unpack(done)) end
tidy(processing, timeouts, consumers, consumer, confirmed)
return remember(session, lane, sequence, ttl, removed)
