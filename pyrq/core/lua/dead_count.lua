-- dead_count: how many dead letters there are.
--
-- KEYS dead
-- ARGV
-- REPLY how many

return redis.call('LLEN', KEYS[1])
