-- What waits: a list, next out at its tail.

-- Reads what is going to be written: a wrong type fails here.
local function read_waiting(queue)
  redis.call('LLEN', queue)
end

-- Puts items (of ARGV, from `first`) at the end; gives how many joined.
local function join(queue, first)
  redis.call('LPUSH', queue, unpack(ARGV, first))
  return #ARGV - first + 1
end

-- Puts items at the end that were put off until now.
local function join_late(queue, items)
  redis.call('LPUSH', queue, unpack(items))
end

-- Gives how many of some items (of ARGV, from `first`) would join.
local function count_new(first)
  return #ARGV - first + 1
end

-- Puts items that were held in front, the last one as the next out; gives how many went back.
local function go_back(queue, items)
  redis.call('RPUSH', queue, unpack(items))
  return #items
end

-- Takes note that items leave the list; gives for how many that was news.
local function leave(...)
  return 0
end
