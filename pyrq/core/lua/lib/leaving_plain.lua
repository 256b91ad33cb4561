-- Deleting what waits: what has landed for a consumer of a plain queue is as good as taken, and stays.

-- Gives the landing lists to delete from.
local function landing_lists(consumers, landing_prefix)
  redis.call('HLEN', consumers)
  return {}
end

local function leave_landing(lists, first)
  return 0
end
