-- What a consumer holds: finding the items of a batch in its processing list, newest at the head. Equal items are
-- separate; the one taken first, nearest the tail, goes first.

-- Up to so many items are removed one by one; for more, one pass over the list is cheaper.
local FEW = 8
-- So many entries are read at a time.
local WINDOW = 1000

-- Reads the record of the consumer's last get and says how many of the newest entries nobody may touch: those of a get
-- that the caller has not seen, and those that wait on the client's side; all of them, if what the caller has in hand
-- is of a tenure that is over (0: it has none). Gives also how many the record speaks of, and whether the get is
-- confirmed by this call. A record that the list no longer agrees with is void: an older library swept the list.
local function out_of_reach(processing, consumers, consumer, received, kept, tenure)
  local known = redis.call('HMGET', consumers, consumer, consumer .. LEASE)
  if tenure ~= '0' and tenure ~= tenure_of(known[2]) then return math.huge, 0, false end
  local sequence, size = string.match(known[1] or '', '^(%d+) (%d+)$')
  if not sequence then return tonumber(kept), 0, false end
  if sequence == received then return tonumber(kept), 0, true end
  size = tonumber(size)
  if size > redis.call('LLEN', processing) then return tonumber(kept), 0, false end
  return tonumber(kept) + size, size, false
end

-- Says whether a batch (of ARGV, from `first`) is what lies at the end of some entries, its first item last.
local function ends_with_batch(entries, first)
  local last = #entries + first
  for i = first, #ARGV do
    if entries[last - i] ~= ARGV[i] then return false end
  end
  return true
end

-- Finds a batch (of ARGV, from `first`) in the list, leaving the newest `hidden` entries alone. Reads only, from the
-- tail on and no further than it must.
-- Gives a plan: `size`, how many are held; `tail`, whether they are exactly the oldest entries; else `at`, their
-- places, counted from the tail, and `missing`, how many of each item were not found.
local function find_held(processing, hidden, first)
  local open = #ARGV - first + 1
  local reach = redis.call('LLEN', processing) - hidden
  if reach <= 0 then return {size = 0} end
  local entries = redis.call('LRANGE', processing, -math.min(open, reach), -1)
  if open <= reach and ends_with_batch(entries, first) then return {size = open, tail = true} end

  local wanted, at, size, seen = {}, {}, 0, 0
  for i = first, #ARGV do wanted[ARGV[i]] = (wanted[ARGV[i]] or 0) + 1 end
  while true do
    local newest = #entries + 1
    for i = newest - 1, 1, -1 do
      local left = wanted[entries[i]]
      if left and left > 0 then
        wanted[entries[i]] = left - 1
        size = size + 1
        at[size] = i - newest - seen
      end
    end
    seen = seen + #entries
    if size == open or seen == reach then break end
    entries = redis.call('LRANGE', processing, -math.min(seen + WINDOW, reach), -seen - 1)
  end
  return {size = size, tail = size > 0 and at[size] == -size, at = at, missing = wanted}
end

-- Gives the items that a plan found, in the reverse of the batch's order. Of equal items the batch's first are found.
local function found_last_first(plan, first)
  local missing, found, size = plan.missing or {}, {}, 0
  for i = #ARGV, first, -1 do
    local left = missing[ARGV[i]]
    if left and left > 0 then
      missing[ARGV[i]] = left - 1
    else
      size = size + 1
      found[size] = ARGV[i]
    end
  end
  return found
end

-- Removes the entries at some places: marks them and removes the marks in one pass, linear in the list whatever the
-- order. The mark can't be an item's bytes by accident: it holds the session's key and the call's sequence. The pass
-- starts at the head, or at the tail where the places are counted from there.
local function remove_at(list, places, mark, from_tail)
  for i = 1, #places do redis.call('LSET', list, places[i], mark) end
  redis.call('LREM', list, from_tail and -#places or #places, mark)
end

-- Takes out what a plan found.
local function remove_held(processing, plan, mark)
  if plan.tail then
    redis.call('LTRIM', processing, 0, -plan.size - 1)
  else
    remove_at(processing, plan.at, mark, true)
  end
end

-- Tidies up behind a removal: a confirmed get needs no record any more, a consumer that holds nothing no stamp and no
-- lease.
local function tidy(processing, timeouts, consumers, consumer, confirmed)
  if redis.call('LLEN', processing) == 0 then
    redis.call('HDEL', timeouts, processing)
    redis.call('HDEL', consumers, consumer, consumer .. LEASE)
  elseif confirmed then
    redis.call('HDEL', consumers, consumer)
  end
end
