-- What waits, each item once: a list, next out at its tail, and the set of what is in it.
--
-- The list is written first when something joins, and last when it leaves: a command that is refused half-way could
-- make an item wait twice, but never make one count as waiting that is not there.
--
-- KEYS unique

local unique = KEYS[#KEYS]

-- Reads what is going to be written: a wrong type fails here.
local function read_waiting(queue)
  redis.call('LLEN', queue)
  redis.call('SCARD', unique)
end

-- Gives those of some items that do not wait, each once, in their order.
local function strangers(items)
  local waits, found, seen = redis.call('SMISMEMBER', unique, unpack(items)), {}, {}
  for i = 1, #items do
    local item = items[i]
    if waits[i] == 0 and not seen[item] then
      seen[item] = true
      found[#found + 1] = item
    end
  end
  return found
end

local function push(command, queue, items)
  local new = strangers(items)
  if #new > 0 then
    redis.call(command, queue, unpack(new))
    redis.call('SADD', unique, unpack(new))
  end
  return #new
end

-- Puts items (of ARGV, from `first`) that do not wait at the end; gives how many joined.
local function join(queue, first)
  return push('LPUSH', queue, {unpack(ARGV, first)})
end

-- Puts items at the end that were put off until now, and do not wait.
local function join_late(queue, items)
  push('LPUSH', queue, items)
end

-- Gives how many of some items (of ARGV, from `first`) would join.
local function count_new(first)
  return #strangers({unpack(ARGV, first)})
end

-- Puts items that were held in front, the last one as the next out, but not those that wait again; gives how many
-- went back.
local function go_back(queue, items)
  return push('RPUSH', queue, items)
end

-- Takes note that items leave the list; gives for how many that was news.
local function leave(...)
  return redis.call('SREM', unique, ...)
end
