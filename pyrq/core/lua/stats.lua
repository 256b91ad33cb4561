-- stats: how a queue is doing, in time linear in the number of its consumers.
--
-- KEYS queue timeouts consumers delayed dead meta
-- ARGV prefix landing_prefix
-- REPLY {waiting, in flight, put off, dead letters, consumers, 1 if paused}
-- include holders
-- include landing

local queue, timeouts, consumers, delayed, dead, meta = unpack(KEYS)
local prefix, landing_prefix = unpack(ARGV)

local waiting, held, present, number = redis.call('LLEN', queue), 0, {}, 0
local function count(consumer)
  if not present[consumer] then number = number + 1 end
  present[consumer] = true
end

for _, holder in ipairs(holders(timeouts, prefix)) do
  held = held + holder.length
  count(holder.consumer)
end
for _, each in ipairs(registrations(consumers, landing_prefix)) do
  waiting = waiting + count_landed(each.key)
  count(each.consumer)
end
local paused = redis.call('HGET', meta, 'paused') and 1 or 0
return {waiting, held, redis.call('ZCARD', delayed), redis.call('LLEN', dead), number, paused}
