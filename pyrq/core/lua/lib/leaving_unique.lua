-- Deleting what waits: what has landed for a consumer of a queue of unique items still does.

-- Removes items (of ARGV, from `first`) from landing lists; gives how many.
local function leave_landing(lists, first)
  local removed = 0
  for i = 1, #lists do
    for j = first, #ARGV do removed = removed + redis.call('LREM', lists[i], 0, ARGV[j]) end
  end
  return removed
end
