-- Who joins a queue among the items of several callers: in one of unique items, those that do not wait, nor join
-- already with an earlier caller.

-- Says of each item (of ARGV, from `first`) whether it waits.
local function who_waits(first)
  local known, waits = redis.call('SMISMEMBER', unique, unpack(ARGV, first)), {}
  for i = 1, #known do waits[ARGV[first - 1 + i]] = known[i] == 1 end
  return waits
end

-- Gives those of some items (of ARGV) that are to join, each once, in their order.
local function newcomers(waits, first, last)
  local found, seen = {}, {}
  for i = first, last do
    local item = ARGV[i]
    if not waits[item] and not seen[item] then
      seen[item] = true
      found[#found + 1] = item
    end
  end
  return found
end

-- Takes note that some items wait now.
local function now_wait(waits, items)
  for i = 1, #items do waits[items[i]] = true end
end

-- Puts such items at the end.
local function join_all(queue, items)
  redis.call('LPUSH', queue, unpack(items))
  redis.call('SADD', unique, unpack(items))
end
