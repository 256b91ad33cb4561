-- forget_rollbacks: an item counts as never rolled back.
--
-- KEYS session retry_count retry_timeout
-- ARGV lane sequence ttl item
-- REPLY {status, 1 if there were any}
-- include lane

local session, retry_count, retry_timeout = unpack(KEYS)
local lane, sequence, ttl, item = unpack(ARGV)

local known = recall(session, lane, sequence, ttl)
if known then return known end

redis.call('HLEN', retry_count)
redis.call('HLEN', retry_timeout)
local forgotten = redis.call('HDEL', retry_count, item) + redis.call('HDEL', retry_timeout, item)
if forgotten == 0 then return {NOTHING, 0} end
return remember(session, lane, sequence, ttl, 1)
