-- For how long a consumer that finds nothing blocks, and who does what must be done once.

-- So many consumers block until the next item is due, so many milliseconds apart, that not all wake for it.
local WAKERS, APART = 3, 10
-- The others block for so many at the most while something is put off: it may have been since they blocked.
local WHILE_PUT_OFF = 1000
-- A server looks at its clocks ten times a second (`hz`), so a blocked move may end so many milliseconds late
-- (measured: 8 to 101).
local TICK = 100
-- A paused queue is looked at again after so many.
local WHILE_PAUSED = 1000
-- A move begins at most so many seconds after the answer of its get.
local MARGIN = 5

-- Gives for how long to block so as to be there in some milliseconds, or to sleep (negative) if that is too soon.
local function until_due(wait)
  return wait > 2 * TICK and wait - TICK or -wait
end

-- Gives for how many milliseconds to block, up to `slice`, or to sleep (negative). `waking` in the hash of the queue's
-- state names when the next item is due, and who blocks until then.
local function time_to_block(slice, delayed, meta, consumer, now)
  local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  if not first[1] then return slice end
  local due = math.max(1, math.ceil((tonumber(first[2]) - tonumber(now)) * 1000))
  if due <= slice then
    local claimed, names = string.match(redis.call('HGET', meta, 'waking') or '', '^([^/]*)(.*)$')
    if claimed ~= first[2] then names = '' end
    local rank = 0
    for name in string.gmatch(names, '[^/]+') do
      if name == consumer then return until_due(due + rank * APART) end
      rank = rank + 1
    end
    if rank < WAKERS then
      redis.call('HSET', meta, 'waking', first[2] .. names .. '/' .. consumer)
      return until_due(due + rank * APART)
    end
  end
  return math.min(slice, WHILE_PUT_OFF)
end

-- Registers the landing list of a consumer that is going to block; `known` is the time that is registered.
local function register(consumers, consumer, known, block, now)
  local until_when = tonumber(now) + block / 1000 + MARGIN
  if (tonumber(known or 0) or 0) < until_when then
    redis.call('HSET', consumers, consumer .. LANDING, string.format('%.6f', until_when))
  end
end
