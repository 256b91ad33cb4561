-- Consumers that were not heard of for a while.

local TAKEN = '/taken'

-- Says whether a list was taken from its consumer by a sweep that has not finished: it belongs to nobody alive.
local function is_taken(key)
  return string.sub(key, -#TAKEN) == TAKEN
end

-- Gives the consumers whose last contact is longer ago than their lease, or `timeout` seconds where they have none (all
-- of them if it is empty), the latest contact first, with how much each holds. Only fields that are processing keys of
-- this queue, and lists, are touched: anybody may write into the hash.
local function silent(timeouts, consumers, prefix, timeout, now)
  local fields, leases = redis.call('HGETALL', timeouts), {}
  local known = #fields > 0 and redis.call('HGETALL', consumers) or {}
  for i = 1, #known, 2 do leases[known[i]] = tonumber(seconds_of(known[i + 1])) end
  local found = {}
  for i = 1, #fields, 2 do
    local key, stamp = fields[i], tonumber(fields[i + 1])
    -- What is no number, nan included, is no contact.
    if not stamp or stamp ~= stamp then stamp = 0 end
    local ours = #key > #prefix and string.sub(key, 1, #prefix) == prefix
    local lease = ours and leases[string.sub(key, #prefix + 1) .. LEASE] or tonumber(timeout)
    if ours and (timeout == '' or stamp <= tonumber(now) - lease or is_taken(key)) then
      local length = redis.pcall('LLEN', key)
      if type(length) == 'number' then
        found[#found + 1] = {key = key, stamp = fields[i + 1], at = stamp, length = length}
      end
    end
  end
  table.sort(found, function(a, b)
    if a.at ~= b.at then return a.at > b.at end
    return a.key > b.key
  end)
  return found
end

-- Removes the records and leases of consumers that hold nothing and have no stamp: an older library swept them, and knows of no
-- record. Gives how many.
local function forget_void(timeouts, consumers, prefix)
  local fields, void = redis.call('HGETALL', consumers), 0
  for i = 1, #fields, 2 do
    local consumer, rest = string.match(fields[i], '^([^/]*)(.*)$')
    local key = prefix .. consumer
    if (rest == '' or rest == LEASE) and not redis.call('HGET', timeouts, key) and redis.call('EXISTS', key) == 0 then
      void = void + redis.call('HDEL', consumers, fields[i])
    end
  end
  return void
end

-- Forgets a consumer: its stamp, its record and its lease go together.
local function forget(timeouts, consumers, prefix, key)
  redis.call('HDEL', timeouts, key)
  local consumer = string.sub(key, #prefix + 1)
  redis.call('HDEL', consumers, consumer, consumer .. LEASE)
end
