-- What a consumer holds: finding the items of a batch in its processing list, newest at the head. Equal items are
-- separate; the one taken first, nearest the tail, goes first.

-- Up to so many items are removed one by one; for more, one pass over the list is cheaper.
local FEW = 8

-- Reads the record of the consumer's last get and says how many of the newest entries nobody may touch: those of a get
-- that the caller has not seen, and those that wait on the client's side. Gives also how many the record speaks of,
-- and whether the get is confirmed by this call. A record that the list no longer agrees with is void: an older
-- library swept the list.
local function out_of_reach(processing, consumers, consumer, received, kept)
  local record = redis.call('HGET', consumers, consumer)
  local sequence, size = string.match(record or '', '^(%d+) (%d+)$')
  if not sequence then return tonumber(kept), 0, false end
  if sequence == received then return tonumber(kept), 0, true end
  size = tonumber(size)
  if size > redis.call('LLEN', processing) then return tonumber(kept), 0, false end
  return tonumber(kept) + size, size, false
end

-- Finds a batch (of ARGV, from `first`) in the list, leaving the newest `hidden` entries alone. Reads only.
-- Gives a plan: `found`, the items that are held, in the batch's order, and where they are: `tail`, they are exactly
-- the oldest entries, or `at`, their places from the head.
local function find_held(processing, hidden, first)
  local size = #ARGV - first + 1
  local oldest = redis.call('LRANGE', processing, -size, -1)
  local reach = redis.call('LLEN', processing) - hidden
  if reach >= size then
    local same = true
    for i = 1, size do
      if oldest[size + 1 - i] ~= ARGV[first + i - 1] then same = false break end
    end
    if same then
      local found = {}
      for i = 1, size do found[i] = ARGV[first + i - 1] end
      return {found = found, tail = size}
    end
  end
  if reach <= 0 then return {found = {}, at = {}} end
  local wanted, taken, at = {}, {}, {}
  for i = first, #ARGV do wanted[ARGV[i]] = (wanted[ARGV[i]] or 0) + 1 end
  local entries = redis.call('LRANGE', processing, -reach, -1)
  for i = #entries, 1, -1 do
    local left = wanted[entries[i]]
    if left and left > 0 then
      wanted[entries[i]] = left - 1
      taken[entries[i]] = (taken[entries[i]] or 0) + 1
      at[#at + 1] = hidden + i - 1
    end
  end
  local found = {}
  for i = first, #ARGV do
    local left = taken[ARGV[i]]
    if left and left > 0 then
      taken[ARGV[i]] = left - 1
      found[#found + 1] = ARGV[i]
    end
  end
  return {found = found, at = at}
end

-- Removes the entries at some places: marks them and removes the marks in one pass, linear in the list whatever the
-- order. The mark can't be an item's bytes by accident: it holds the session's key and the call's sequence.
local function remove_at(list, places, mark)
  for i = 1, #places do redis.call('LSET', list, places[i], mark) end
  redis.call('LREM', list, #places, mark)
end

-- Takes out what a plan found.
local function remove_held(processing, plan, mark)
  if plan.tail then
    redis.call('LTRIM', processing, 0, -plan.tail - 1)
    return
  end
  remove_at(processing, plan.at, mark)
end

-- Tidies up behind a removal: a confirmed get needs no record any more, a consumer that holds nothing no stamp.
local function tidy(processing, timeouts, consumers, consumer, confirmed)
  local left = redis.call('LLEN', processing)
  if left == 0 then redis.call('HDEL', timeouts, processing) end
  if confirmed or left == 0 then redis.call('HDEL', consumers, consumer) end
end
