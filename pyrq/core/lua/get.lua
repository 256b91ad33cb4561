-- get: the oldest waiting items move to the consumer's processing list.
--
-- A get is confirmed by the next call, which says which get it last received. What the consumer has not received is
-- handed out again first. A get that runs late, or again, takes nothing. One that finds nothing, of a consumer that is
-- going to wait (up to `slice` ms), registers its landing list; `blocked` says how many other moves may still bring
-- something there.
--
-- KEYS session queue processing timeouts consumers landing delayed meta deliveries
-- ARGV lane sequence ttl received consumer count lease slice blocked now
-- REPLY {status, {item, ...} newest first, tenure, 1 if this consumer is to sweep, ms to block, or to sleep (negative),
-- REPLY 1 if the items are all that the consumer holds}
-- include lane
-- include stamp
-- include lease
-- include landing
-- include waiting_KIND
-- include arrivals
-- include idle
-- include sweeping
-- include swept
-- include suspects

local session, queue, processing, timeouts, consumers, landing, delayed, meta, deliveries = unpack(KEYS)
local lane, sequence, ttl, received, consumer, count, lease, slice, blocked, now = unpack(ARGV)
-- From so many items on, to rename a list is cheaper than to copy it.
local MANY = 8

local number = tonumber(sequence)
local last = tonumber(string.match(redis.call('HGET', session, lane) or '0', '^%d+'))
local record, leased, landable = unpack(redis.call('HMGET', consumers, consumer, consumer .. LEASE, consumer .. LANDING))
local taker, size = string.match(record or '0 0', '^(%d+) (%d+)$')
taker, size = tonumber(taker), tonumber(size)
-- The session may have expired; the record has not.
last = math.max(last, taker)
if number < last then return {STALE} end

redis.call('HLEN', timeouts)
local counted = lease ~= '' and redis.call('HLEN', deliveries) > 0
read_waiting(queue)
local unseen, length = 0, redis.call('LLEN', processing)
-- A record that is larger than the list is void: an older library swept the list.
if taker ~= tonumber(received) and size <= length then unseen = size end
local tenure = length > 0 and tenure_of(leased) or sequence

-- Says whether an answer of some size is all that the consumer holds: it had received nothing that it still held.
local function is_whole(size)
  return size > 0 and unseen == length and 1 or 0
end

local answer = unseen > 0 and redis.call('LRANGE', processing, 0, unseen - 1) or {}
if number == last then return {AGAIN, answer, tonumber(tenure), 0, 0, is_whole(unseen)} end

-- Copies items, which are given newest first, to the head of what the consumer holds.
local function copy(items)
  if length == 0 then
    redis.call('RPUSH', processing, unpack(items))
    return
  end
  local oldest_first, size = {}, #items
  for i = 1, size do oldest_first[i] = items[size + 1 - i] end
  redis.call('LPUSH', processing, unpack(oldest_first))
end

-- Says whether the queue can become what the consumer holds as it is, all of it at once. A time to live that somebody
-- gave it must not come with it.
local function can_be_renamed(size)
  return size >= MANY and length == 0 and redis.call('LLEN', queue) == size and redis.call('TTL', queue) == -1
end

-- Moves the oldest items of the queue to the head of what the consumer holds.
local function take(items)
  local size = #items
  if size == 1 then
    leave(unpack(items))
    redis.call('LMOVE', queue, processing, 'RIGHT', 'LEFT')
  elseif can_be_renamed(size) then
    leave(unpack(items))
    redis.call('RENAME', queue, processing)
  else
    copy(items)
    leave(unpack(items))
    redis.call('LTRIM', queue, 0, -size - 1)
  end
end

now = server_time(now)
local paused = bring(session, ttl, queue, landing, delayed, meta, now)
local wanted = paused and 0 or tonumber(count) - unseen
local waiting = wanted > 0 and redis.call('LRANGE', queue, -wanted, -1) or {}
if counted then waiting = taken_together(deliveries, waiting) end
local size = #waiting
local sweeps = lease ~= '' and is_sweep_due(meta, lease, now)
local status, block = NOTHING, 0
if sweeps or unseen + size > 0 or slice ~= '0' then begin(session, ttl) end
if sweeps then redis.call('HSET', meta, 'swept', now) end

if unseen + size > 0 then
  if size > 0 then take(waiting) end
  for i = 1, unseen do waiting[size + i] = answer[i] end
  answer = waiting
  redis.call('HSET', timeouts, processing, now)
  local record = sequence .. ' ' .. unseen + size
  if lease == '' then
    redis.call('HSET', consumers, consumer, record)
  else
    redis.call('HSET', consumers, consumer, record, consumer .. LEASE, lease .. ' ' .. tenure)
  end
  status = remember(session, lane, sequence, ttl)[1]
elseif slice ~= '0' and paused then
  block = -math.min(tonumber(slice), WHILE_PAUSED)
elseif slice ~= '0' then
  block = time_to_block(tonumber(slice), delayed, meta, consumer, now)
  if block > 0 then
    register(consumers, consumer, landable, block, now)
    -- An older get that runs late would end the registration; now it is stale.
    remember(session, lane, sequence, ttl)
  end
end
if block <= 0 then unregister(consumers, consumer, landable, blocked, now) end
return {status, answer, tonumber(tenure), sweeps and 1 or 0, block, is_whole(#answer)}
