-- ack_together: items that the consumer holds are done with, as if each of several callers had acknowledged its own, one
-- caller after another. `sizes` are how many items each acknowledges, parted by spaces.
--
-- KEYS session processing timeouts consumers deliveries
-- ARGV lane sequence ttl received kept tenure consumer sizes item...
-- REPLY {status, how many were held; one for each caller}
-- include lane
-- include lease
-- include held
-- include deliveries

local session, processing, timeouts, consumers, deliveries = unpack(KEYS)
local lane, sequence, ttl, received, kept, tenure, consumer, sizes = unpack(ARGV, 1, 8)
local FIRST = 9

local known = recall(session, lane, sequence, ttl)
if known then return known end

redis.call('HLEN', timeouts)
local hidden, _, confirmed = out_of_reach(processing, consumers, consumer, received, kept, tenure)
local counted = has_counts(deliveries)
local plan = find_held(processing, hidden, FIRST)

-- Of equal items, those that were found are those of the callers who came first.
local missing, held = plan.missing or {}, {}
for i = FIRST, #ARGV do held[ARGV[i]] = (held[ARGV[i]] or 0) + 1 end
for item, many in pairs(missing) do held[item] = held[item] - many end
local told, first = {}, FIRST
for many in string.gmatch(sizes, '%d+') do
  local found = 0
  for i = first, first + many - 1 do
    local left = plan.size > 0 and held[ARGV[i]] or 0
    if left > 0 then
      held[ARGV[i]] = left - 1
      found = found + 1
    end
  end
  told[#told + 1] = found
  first = first + many
end
if plan.size == 0 then return {NOTHING, unpack(told)} end

begin(session, ttl)
local done = counted and found_last_first(plan, FIRST)
remove_held(processing, plan, session .. ' ' .. lane .. ' ' .. sequence)
if counted then redis.call('HDEL', deliveries, unpack(done)) end
tidy(processing, timeouts, consumers, consumer, confirmed)
return remember(session, lane, sequence, ttl, unpack(told))
