-- pool_count_due: how many items are due.
--
-- KEYS queue
-- ARGV now
-- REPLY how many
-- include stamp

local pool = KEYS[1]
local now = ARGV[1]

return redis.call('ZCOUNT', pool, '-inf', string.match(server_time(now), '^%d+'))
