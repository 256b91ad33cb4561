-- Deleting what waits: what has landed for a consumer of a queue of unique items still does.

-- Gives the landing lists to delete from.
local function landing_lists(consumers, landing_prefix)
  local lists = stray(consumers, landing_prefix, true, 0)
  return lists
end

-- Removes items (of ARGV, from `first`) from landing lists; gives how many.
local function leave_landing(lists, first)
  local removed = 0
  for i = 1, #lists do
    for j = first, #ARGV do removed = removed + redis.call('LREM', lists[i], 0, ARGV[j]) end
  end
  return removed
end
