-- add: items join the queue; they come out in the order given. In a queue of unique items, one that waits does not.
--
-- KEYS session queue
-- ARGV lane sequence ttl item...
-- REPLY {status, how many were added}
-- include lane
-- include waiting_KIND

local session, queue = unpack(KEYS)
local lane, sequence, ttl = unpack(ARGV, 1, 3)
local FIRST = 4

local known = recall(session, lane, sequence, ttl)
if known then return known end

read_waiting(queue)
-- The first write is the one that a full server refuses: then nothing has changed.
local joined = join(queue, FIRST)
if joined == 0 then return {NOTHING, 0} end
return remember(session, lane, sequence, ttl, joined)
