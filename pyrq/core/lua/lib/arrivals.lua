-- What is on its way to the queue: what has landed for this consumer, and what was put off until now.

local DUE_AT_ONCE = 1000

-- Brings it there. Nothing becomes due while the queue is paused. Says whether it is.
local function bring(session, ttl, queue, landing, delayed, meta, now)
  if redis.call('EXISTS', landing, delayed, meta) == 0 then return false end
  local paused = redis.call('HGET', meta, 'paused')
  local landed = redis.call('LRANGE', landing, 0, -1)
  local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', paused and '(-inf' or now, 'LIMIT', 0, DUE_AT_ONCE)
  if #landed + #due > 0 then begin(session, ttl) end
  if #landed > 0 then put_back(queue, landing, landed) end
  if #due > 0 then
    local items = {}
    for i = 1, #due do items[i] = string.match(due[i], '^[^\n]*\n(.*)$') or due[i] end
    join_late(queue, items)
    redis.call('ZREM', delayed, unpack(due))
    if redis.call('EXISTS', delayed) == 0 then redis.call('HDEL', meta, 'waking') end
  end
  return paused
end
