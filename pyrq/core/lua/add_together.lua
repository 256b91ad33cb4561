-- add_together: items of several callers join the queue, as if each had added its own, one caller after another: one
-- whose items do not fit in does not keep the others out. `sizes` are how many items each adds, parted by spaces.
--
-- KEYS session queue delayed
-- ARGV lane sequence ttl max_size sizes item...
-- REPLY {status, how many were added, or -1: more than max_size would wait; one for each caller}
-- include lane
-- include room
-- include waiting_KIND
-- include newcomers_KIND

local session, queue, delayed = unpack(KEYS)
local lane, sequence, ttl, max_size, sizes = unpack(ARGV, 1, 5)
local FIRST = 6

local known = recall(session, lane, sequence, ttl)
if known then return known end

read_waiting(queue)
local room = max_size == '' and math.huge or room_left(queue, delayed, max_size)
local waits, told, joining, size, first = who_waits(FIRST), {}, {}, 0, FIRST
for many in string.gmatch(sizes, '%d+') do
  local new = newcomers(waits, first, first + many - 1)
  first = first + many
  if #new > 0 and size + #new > room then
    told[#told + 1] = -1
  else
    told[#told + 1] = #new
    for i = 1, #new do joining[size + i] = new[i] end
    size = size + #new
    now_wait(waits, new)
  end
end
if size == 0 then return {NOTHING, unpack(told)} end
-- The first write is the one that a full server refuses: then nothing has changed.
join_all(queue, joining)
return remember(session, lane, sequence, ttl, unpack(told))
