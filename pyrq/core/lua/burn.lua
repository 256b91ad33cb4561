-- burn: calls that may still be under way must not run any more.
--
-- A call that had nothing to do left no record on its lane, and a hand-out of a pool runs anew when it comes again. Sent
-- once more by the network after its caller gave up, they would run; their sequence is taken from them here.
--
-- KEYS session
-- ARGV ttl lane_and_sequence...
-- REPLY 1
-- include lane

local session = KEYS[1]
local ttl = ARGV[1]

redis.call('HLEN', session)
begin(session, ttl)
for i = 2, #ARGV, 2 do
  local last = tonumber(string.match(redis.call('HGET', session, ARGV[i]) or '0', '^%d+'))
  if last <= tonumber(ARGV[i + 1]) then redis.call('HSET', session, ARGV[i], ARGV[i + 1] .. BURNT) end
end
redis.call('EXPIRE', session, ttl)
return 1
