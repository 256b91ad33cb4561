-- reject: items that the consumer holds go back, as the next out, in the order given. In a queue of unique items, one
-- that waits again does not.
--
-- Where there is a `most`, each goes back only until it was delivered so often; then it becomes a dead letter.
--
-- KEYS session queue processing timeouts consumers deliveries dead
-- ARGV lane sequence ttl received kept tenure consumer most dead_max reason now item...
-- REPLY {status, how many were held}
-- include lane
-- include stamp
-- include lease
-- include held
-- include deliveries
-- include letters
-- include waiting_KIND

local session, queue, processing, timeouts, consumers, deliveries, dead = unpack(KEYS)
local lane, sequence, ttl, received, kept, tenure, consumer, most, dead_max, reason, now = unpack(ARGV, 1, 11)
local FIRST = 12

local known = recall(session, lane, sequence, ttl)
if known then return known end

read_waiting(queue)
redis.call('HLEN', timeouts)
local hidden, _, confirmed = out_of_reach(processing, consumers, consumer, received, kept, tenure)
local plan = find_held(processing, hidden, FIRST)
local size = plan.size
if size == 0 then return {NOTHING, 0} end

local back, counts, spent, counts_of_spent = found_last_first(plan, FIRST), nil, {}, nil
if most ~= '' then
  redis.call('LLEN', dead)
  back, counts, spent, counts_of_spent = divide(back, count_deliveries(deliveries, back), most)
end
begin(session, ttl)
if #spent > 0 then
  local first = reversed(spent)
  write_letters(dead, dead_max, server_time(now), consumer, reason, first, reversed(counts_of_spent))
end
if counts then keep_counts(deliveries, back, counts, spent, 0, '') end
if #back > 0 then go_back(queue, back) end
remove_held(processing, plan, session .. ' ' .. lane .. ' ' .. sequence)
tidy(processing, timeouts, consumers, consumer, confirmed)
return remember(session, lane, sequence, ttl, size)
