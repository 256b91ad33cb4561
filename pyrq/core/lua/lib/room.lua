-- A queue's bound: how many items may wait, those that are put off among them. What consumers hold does not count, so
-- that it can always go back.

-- Gives how many more may wait; less than 0 where too many do.
local function room_left(queue, delayed, max_size)
  return tonumber(max_size) - redis.call('LLEN', queue) - redis.call('ZCARD', delayed)
end

local function has_room(queue, delayed, max_size, more)
  return more == 0 or more <= room_left(queue, delayed, max_size)
end
