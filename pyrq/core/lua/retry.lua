-- retry: items that the consumer holds are put off, each for longer the more often it was delivered. One that was
-- delivered `most` times becomes a dead letter.
--
-- `waits` are seconds, parted by spaces: after the first delivery, the second, and so on; the last one holds for all
-- that follow.
--
-- KEYS session processing timeouts consumers deliveries dead delayed
-- ARGV lane sequence ttl received kept tenure consumer most dead_max reason waits now item...
-- REPLY {status, how many were held, how many of them are dead letters now}
-- include lane
-- include stamp
-- include lease
-- include held
-- include deliveries
-- include letters
-- include later

local session, processing, timeouts, consumers, deliveries, dead, delayed = unpack(KEYS)
local lane, sequence, ttl, received, kept, tenure, consumer, most, dead_max, reason, waits, now = unpack(ARGV, 1, 12)
local FIRST = 13

local known = recall(session, lane, sequence, ttl)
if known then return known end

redis.call('LLEN', dead)
redis.call('ZCARD', delayed)
redis.call('HLEN', timeouts)
local hidden, _, confirmed = out_of_reach(processing, consumers, consumer, received, kept, tenure)
local plan = find_held(processing, hidden, FIRST)
if plan.size == 0 then return {NOTHING, 0, 0} end

local items = reversed(found_last_first(plan, FIRST))
local again, counts, spent, counts_of_spent = divide(items, count_deliveries(deliveries, items), most)

-- Gives for how long each item is put off, and the longest of these.
local function times_to_wait()
  local steps, times, longest = {}, {}, 0
  for step in string.gmatch(waits, '%S+') do steps[#steps + 1] = tonumber(step) end
  for i = 1, #again do
    times[i] = steps[math.min(counts[i], #steps)]
    longest = math.max(longest, times[i])
  end
  return times, longest
end

local times, longest = times_to_wait()
now = server_time(now)
begin(session, ttl)
if #spent > 0 then write_letters(dead, dead_max, now, consumer, reason, spent, counts_of_spent) end
if #again > 0 then put_off(session, lane, sequence, delayed, again, times, now) end
keep_counts(deliveries, again, counts, spent, longest, '')
remove_held(processing, plan, session .. ' ' .. lane .. ' ' .. sequence)
tidy(processing, timeouts, consumers, consumer, confirmed)
return remember(session, lane, sequence, ttl, plan.size, #spent)
