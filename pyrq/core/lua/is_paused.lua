-- is_paused: whether consumers are to stop taking.
--
-- KEYS meta
-- ARGV
-- REPLY 1 if so, else 0

return redis.call('HGET', KEYS[1], 'paused') and 1 or 0
