-- delete: copies of items that wait are removed, the newest first; `count` of each item given, or all (0). In a queue
-- of unique items that is to be all.
--
-- KEYS session queue consumers deliveries
-- ARGV lane sequence ttl landing_prefix count item...
-- REPLY {status, how many were removed}
-- include lane
-- include lease
-- include held
-- include deliveries
-- include landing
-- include waiting_KIND
-- include leaving_KIND

local session, queue, consumers, deliveries = unpack(KEYS)
local lane, sequence, ttl, landing_prefix, count = unpack(ARGV, 1, 5)
local FIRST = 6

local known = recall(session, lane, sequence, ttl)
if known then return known end

read_waiting(queue)
local lists = landing_lists(consumers, landing_prefix)

-- Finds the places of the items in one pass over the queue, whatever their number.
local function find()
  local wanted, open, places = {}, 0, {}
  local each = count == '0' and math.huge or tonumber(count)
  for i = FIRST, #ARGV do
    wanted[ARGV[i]] = (wanted[ARGV[i]] or 0) + each
    open = open + each
  end
  for start = 0, redis.call('LLEN', queue) - 1, WINDOW do
    if open == 0 then break end
    local window = redis.call('LRANGE', queue, start, start + WINDOW - 1)
    for i = 1, #window do
      local left = wanted[window[i]]
      if left and left > 0 then
        wanted[window[i]], open = left - 1, open - 1
        places[#places + 1] = start + i - 1
      end
    end
  end
  return places
end

local counted = count == '0' and has_counts(deliveries)
local places = #ARGV - FIRST >= FEW and find()
if places and #places > 0 then begin(session, ttl) end
local left, removed = leave(unpack(ARGV, FIRST)), places and #places or 0
local landed = leave_landing(lists, FIRST)
if not places then
  for i = FIRST, #ARGV do removed = removed + redis.call('LREM', queue, count, ARGV[i]) end
elseif removed > 0 then
  remove_at(queue, places, session .. ' ' .. lane .. ' ' .. sequence)
end
removed = removed + landed
if counted and removed > 0 then redis.call('HDEL', deliveries, unpack(ARGV, FIRST)) end
if left + removed == 0 then return {NOTHING, 0} end
return remember(session, lane, sequence, ttl, removed)
