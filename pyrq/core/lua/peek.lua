-- peek: the oldest waiting items, which stay.
--
-- KEYS queue
-- ARGV count offset
-- REPLY {item, ...} newest first

local count, offset = unpack(ARGV)
return redis.call('LRANGE', KEYS[1], -offset - count, -offset - 1)
