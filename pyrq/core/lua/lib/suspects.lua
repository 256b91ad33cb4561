-- Items that may kill their consumers: their last one fell silent with them in hand. They are taken one by one, so that
-- none takes others with it. Items stand newest first here.

-- Gives the oldest of some items, which may be taken together.
local function taken_together(deliveries, items)
  local size = #items
  if size < 2 then return items end
  local known = redis.call('HMGET', deliveries, unpack(items))
  for i = size, 1, -1 do
    if string.find(known[i] or '', SWEPT, 1, true) then return {unpack(items, math.min(i + 1, size))} end
  end
  return items
end
