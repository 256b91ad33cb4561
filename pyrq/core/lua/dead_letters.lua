-- dead_letters: the oldest dead letters, which stay.
--
-- KEYS dead
-- ARGV count
-- REPLY {letter, ...} newest first

return redis.call('LRANGE', KEYS[1], -tonumber(ARGV[1]), -1)
