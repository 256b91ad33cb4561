-- count: how many items wait.
--
-- KEYS queue
-- ARGV
-- REPLY how many

return redis.call('LLEN', KEYS[1])
