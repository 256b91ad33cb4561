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

-- Gives what has landed for consumers that are silent (or for all): their lists, and the fields that may go. A live
-- consumer moves its time on with each move.
local function stray(consumers, prefix, all, now)
  local fields, lists, over = redis.call('HGETALL', consumers), {}, {}
  for i = 1, #fields, 2 do
    local consumer = string.match(fields[i], '^([^/]+)' .. LANDING .. '$')
    local until_when = consumer and (tonumber(fields[i + 1]) or 0)
    local silent = consumer and until_when <= tonumber(now)
    if silent then over[#over + 1] = fields[i] end
    if silent or (consumer and all) then
      local key = prefix .. consumer
      local length = redis.pcall('LLEN', key)
      if type(length) == 'number' and length > 0 then lists[#lists + 1] = key end
    end
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
