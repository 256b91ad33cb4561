-- Deleting what waits: what has landed for a consumer of a plain queue is as good as taken, and stays.

local function leave_landing(lists, first)
  return 0
end
