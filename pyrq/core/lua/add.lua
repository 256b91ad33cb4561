-- add: items join the queue; they come out in the order given.
--
-- KEYS session queue
-- ARGV lane sequence ttl item...
-- REPLY {status, how many were added}
-- include lane

local session, queue = unpack(KEYS)
local lane, sequence, ttl = unpack(ARGV, 1, 3)
local FIRST = 4

local known = recall(session, lane, sequence, ttl)
if known then return known end

-- The first write is the one that a full server refuses, and that fails on a wrong type: then nothing has changed.
redis.call('LPUSH', queue, unpack(ARGV, FIRST))
return remember(session, lane, sequence, ttl, #ARGV - FIRST + 1)
