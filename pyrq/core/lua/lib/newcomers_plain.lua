-- Who joins a queue among the items of several callers: in a plain one, everybody.

local function who_waits(first)
  return nil
end

-- Gives those of some items (of ARGV) that are to join, in their order.
local function newcomers(waits, first, last)
  return {unpack(ARGV, first, last)}
end

local function now_wait(waits, items)
end

-- Puts such items at the end.
local function join_all(queue, items)
  redis.call('LPUSH', queue, unpack(items))
end
