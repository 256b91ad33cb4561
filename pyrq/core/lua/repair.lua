-- repair: the set of what waits is made anew from the list, and from what has landed for consumers.
--
-- KEYS session queue unique repair consumers
-- ARGV lane sequence ttl landing_prefix
-- REPLY {status, how many members the set gained and lost}
-- include lane
-- include landing

local session, queue, unique, repair, consumers = unpack(KEYS)
local lane, sequence, ttl, landing_prefix = unpack(ARGV)
local WINDOW = 1000

local known = recall(session, lane, sequence, ttl)
if known then return known end

local length, before = redis.call('LLEN', queue), redis.call('SCARD', unique)
local lists = stray(consumers, landing_prefix, true, 0)
begin(session, ttl)
redis.call('UNLINK', repair)
for start = 0, length - 1, WINDOW do
  redis.call('SADD', repair, unpack(redis.call('LRANGE', queue, start, start + WINDOW - 1)))
end
for i = 1, #lists do redis.call('SADD', repair, unpack(redis.call('LRANGE', lists[i], 0, -1))) end
local after = redis.call('SCARD', repair)
local lost = redis.call('SDIFFSTORE', unique, unique, repair)
local gained = after - (before - lost)
if after > 0 then
  redis.call('RENAME', repair, unique)
else
  redis.call('UNLINK', unique)
end
if lost + gained == 0 then return {NOTHING, 0} end
return remember(session, lane, sequence, ttl, lost + gained)
