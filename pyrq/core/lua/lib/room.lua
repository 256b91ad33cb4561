-- A queue's bound: how many items may wait, those that are put off among them. What consumers hold does not count, so
-- that it can always go back.

local function has_room(queue, delayed, max_size, more)
  if more == 0 then return true end
  return redis.call('LLEN', queue) + redis.call('ZCARD', delayed) + more <= tonumber(max_size)
end
