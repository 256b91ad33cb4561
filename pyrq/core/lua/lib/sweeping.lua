-- Who sweeps: one consumer at a time, whatever their number. `swept` in the hash of the queue's state says when that
-- was last.

-- Says whether a sweep is due, half a lease after the last one.
local function is_sweep_due(meta, lease, now)
  local ago = tonumber(now) - (tonumber(redis.call('HGET', meta, 'swept') or 0) or 0)
  return ago < 0 or ago >= tonumber(lease) / 2
end

-- Forgets when the last sweep was, where nobody has a lease or waits any more: there is nobody to sweep.
local function forget_sweeps(consumers, meta)
  if not redis.call('HGET', meta, 'swept') then return end
  local fields = redis.call('HGETALL', consumers)
  for i = 1, #fields, 2 do
    if string.find(fields[i], '/', 1, true) then return end
  end
  redis.call('HDEL', meta, 'swept')
end
