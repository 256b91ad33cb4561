-- release: what the consumer has and its caller has not seen goes back, as the next out, oldest first: the batch of an
-- unconfirmed get, and what waits on the client's side. A call moves up to 1,000, from the newest on, so that the
-- oldest go in last.
--
-- KEYS session queue processing timeouts consumers
-- ARGV lane sequence ttl received kept consumer
-- REPLY {status, how many went back, how many are left to give back}
-- include lane
-- include held
-- include waiting_KIND

local session, queue, processing, timeouts, consumers = unpack(KEYS)
local lane, sequence, ttl, received, kept, consumer = unpack(ARGV)
local LIMIT = 1000

local known = recall(session, lane, sequence, ttl)
if known then return known end

read_waiting(queue)
redis.call('HLEN', timeouts)
local hidden, unseen, confirmed = out_of_reach(processing, consumers, consumer, received, kept)
local length = redis.call('LLEN', processing)
hidden = math.min(hidden, length)
local size = math.min(hidden, LIMIT)
if size == 0 then
  -- A record that an older library's sweep made void would stay for ever.
  if length == 0 then redis.call('HDEL', consumers, consumer) end
  return {NOTHING, 0, 0}
end

begin(session, ttl)
local back = go_back(queue, redis.call('LRANGE', processing, 0, size - 1))
redis.call('LTRIM', processing, size, -1)
-- No get takes more than the limit, so an unseen batch has gone back whole, and its record with it.
tidy(processing, timeouts, consumers, consumer, confirmed or unseen > 0)
return remember(session, lane, sequence, ttl, back, hidden - size)
