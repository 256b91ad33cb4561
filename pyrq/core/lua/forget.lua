-- forget: the session is over.
--
-- KEYS session
-- ARGV
-- REPLY how many keys were removed

return redis.call('DEL', KEYS[1])
