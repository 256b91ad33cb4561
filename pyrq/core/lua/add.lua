-- add: items join the queue; they come out in the order given. In a queue of unique items, one that waits does not.
--
-- KEYS session queue delayed
-- ARGV lane sequence ttl max_size item...
-- REPLY {status, how many were added, or -1: more than max_size would wait}
-- include lane
-- include room
-- include waiting_KIND

local session, queue, delayed = unpack(KEYS)
local lane, sequence, ttl, max_size = unpack(ARGV, 1, 4)
local FIRST = 5

local known = recall(session, lane, sequence, ttl)
if known then return known end

if max_size ~= '' and not has_room(queue, delayed, max_size, count_new(FIRST)) then return {NOTHING, -1} end
-- The first write is the one that a full server refuses, and that fails on a wrong type: then nothing has changed.
local joined = join(queue, FIRST)
if joined == 0 then return {NOTHING, 0} end
return remember(session, lane, sequence, ttl, joined)
