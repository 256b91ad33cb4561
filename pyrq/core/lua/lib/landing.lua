-- Landing lists: to where a blocked move brings an item. `<consumer>/landing` in the hash of consumers says until when
-- such a move may bring one; a list is never without that field while it may.

local LANDING = '/landing'

-- Puts what has landed in front of the queue again. It never stopped waiting, so a set of unique items has it still.
local function put_back(queue, landing, landed)
  redis.call('RPUSH', queue, unpack(landed))
  redis.call('DEL', landing)
end

-- Ends a registration, unless other moves of this consumer may still bring something.
local function unregister(consumers, consumer, known, blocked, now)
  if known and (blocked == '0' or (tonumber(known) or 0) <= tonumber(now)) then
    redis.call('HDEL', consumers, consumer .. LANDING)
  end
end

-- Gives who is registered: each consumer with its field, until when, and the key of its list.
local function registrations(consumers, prefix)
  local fields, found = redis.call('HGETALL', consumers), {}
  for i = 1, #fields, 2 do
    local consumer = string.match(fields[i], '^([^/]+)' .. LANDING .. '$')
    if consumer then
      local until_when = tonumber(fields[i + 1]) or 0
      found[#found + 1] = {consumer = consumer, field = fields[i], until_when = until_when, key = prefix .. consumer}
    end
  end
  return found
end

-- Gives how many have landed in a list; 0 where it is none.
local function count_landed(key)
  local length = redis.pcall('LLEN', key)
  return type(length) == 'number' and length or 0
end

-- Gives what has landed for consumers that are silent (or for all): their lists, and the fields that may go. A live
-- consumer moves its time on with each move.
local function stray(consumers, prefix, all, now)
  local lists, over = {}, {}
  for _, each in ipairs(registrations(consumers, prefix)) do
    local silent = each.until_when <= tonumber(now)
    if silent then over[#over + 1] = each.field end
    if (silent or all) and count_landed(each.key) > 0 then lists[#lists + 1] = each.key end
  end
  return lists, over
end

-- Puts what has landed for such consumers in front of the queue again; gives how many items.
local function put_back_stray(queue, consumers, lists, over)
  local back = 0
  for i = 1, #lists do
    local landed = redis.call('LRANGE', lists[i], 0, -1)
    put_back(queue, lists[i], landed)
    back = back + #landed
  end
  for i = 1, #over do redis.call('HDEL', consumers, over[i]) end
  return back
end
