-- pool_has: whether an item is in the pool, in any state.
--
-- KEYS queue
-- ARGV item
-- REPLY 1 or 0

local pool = KEYS[1]
local item = ARGV[1]

return redis.call('ZSCORE', pool, item) and 1 or 0
