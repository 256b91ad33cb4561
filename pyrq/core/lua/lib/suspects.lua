-- Items that may kill their consumers: their last one fell silent with them in hand. They are taken one by one, so that
-- none takes others with it.

-- Gives the first of some items.
local function first_of(items, count)
  if count == #items then return items end
  return {unpack(items, 1, count)}
end

-- Gives how many of some items, oldest first, may be taken together.
local function taken_together(deliveries, items)
  if #items < 2 then return #items end
  local known = redis.call('HMGET', deliveries, unpack(items))
  for i = 1, #items do
    if string.find(known[i] or '', SWEPT, 1, true) then return math.max(1, i - 1) end
  end
  return #items
end
