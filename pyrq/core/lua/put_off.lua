-- put_off: items are to join the queue in some seconds. Whoever gets then moves them there.
--
-- KEYS session queue delayed
-- ARGV lane sequence ttl delay max_size now item...
-- REPLY {status, how many were added, or -1: more than max_size would wait}
-- include lane
-- include stamp
-- include room
-- include later

local session, queue, delayed = unpack(KEYS)
local lane, sequence, ttl, delay, max_size, now = unpack(ARGV, 1, 6)
local FIRST = 7

local known = recall(session, lane, sequence, ttl)
if known then return known end

redis.call('ZCARD', delayed)
local items, waits = {unpack(ARGV, FIRST)}, {}
if max_size ~= '' and not has_room(queue, delayed, max_size, #items) then return {NOTHING, -1} end
for i = 1, #items do waits[i] = tonumber(delay) end
-- A full server refuses the first write: then nothing has changed.
put_off(session, lane, sequence, delayed, items, waits, server_time(now))
return remember(session, lane, sequence, ttl, #items)
