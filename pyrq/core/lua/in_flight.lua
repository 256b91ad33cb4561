-- in_flight: who holds how much.
--
-- KEYS timeouts consumers
-- ARGV prefix now
-- REPLY {{consumer, how many, seconds since its last contact, seconds of its lease or ''}, ...}
-- include stamp
-- include lease
-- include holders

local timeouts, consumers = unpack(KEYS)
local prefix, now = unpack(ARGV)

now = tonumber(server_time(now))
local found = {}
for i, holder in ipairs(holders(timeouts, prefix)) do
  local idle = string.format('%.3f', math.max(0, now - holder.at))
  found[i] = {holder.consumer, holder.length, idle, seconds_of(redis.call('HGET', consumers, holder.consumer .. LEASE)) or ''}
end
return found
