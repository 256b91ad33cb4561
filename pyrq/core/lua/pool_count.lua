-- pool_count: how many items are in the pool.
--
-- KEYS queue
-- ARGV
-- REPLY how many

return redis.call('ZCARD', KEYS[1])
