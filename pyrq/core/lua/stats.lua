-- stats: how a queue is doing, in time linear in the number of its consumers.
--
-- KEYS queue timeouts consumers delayed dead meta
-- ARGV prefix landing_prefix
-- REPLY {waiting, in flight, put off, dead letters, consumers, 1 if paused}
-- include holders

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
local fields = redis.call('HGETALL', consumers)
for i = 1, #fields, 2 do
  local consumer = string.match(fields[i], '^([^/]+)/landing$')
  if consumer then
    local landed = redis.pcall('LLEN', landing_prefix .. consumer)
    if type(landed) == 'number' then waiting = waiting + landed end
    count(consumer)
  end
end
local paused = redis.call('HGET', meta, 'paused') and 1 or 0
return {waiting, held, redis.call('ZCARD', delayed), redis.call('LLEN', dead), number, paused}
