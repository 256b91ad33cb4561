-- pool_remove: items that are handed out leave the pool.
--
-- KEYS session queue
-- ARGV lane sequence ttl item...
-- REPLY {status, how many were handed out}
-- include lane
-- include leases

local session, pool = unpack(KEYS)
local lane, sequence, ttl = unpack(ARGV, 1, 3)
local FIRST = 4

local known = recall(session, lane, sequence, ttl)
if known then return known end

local scores, items = redis.call('ZMSCORE', pool, unpack(ARGV, FIRST)), {}
for i = 1, #scores do
  if is_marked(scores[i]) then items[#items + 1] = ARGV[FIRST - 1 + i] end
end
if #items == 0 then return {NOTHING, 0} end
return remember(session, lane, sequence, ttl, redis.call('ZREM', pool, unpack(items)))
