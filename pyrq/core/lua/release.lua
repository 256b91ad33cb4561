-- release: what the consumer has and its caller has not seen goes back, as the next out, oldest first: the batch of an
-- unconfirmed get, what waits on the client's side, and what has landed. A call moves up to 1,000 of what it holds,
-- from the newest on, so that the oldest go in last.
--
-- KEYS session queue processing timeouts consumers landing meta
-- ARGV lane sequence ttl received kept tenure consumer blocked now
-- REPLY {status, how many went back, how many are left to give back}
-- include lane
-- include stamp
-- include lease
-- include held
-- include landing
-- include sweeping
-- include waiting_KIND

local session, queue, processing, timeouts, consumers, landing, meta = unpack(KEYS)
local lane, sequence, ttl, received, kept, tenure, consumer, blocked, now = unpack(ARGV)
local LIMIT = 1000

local known = recall(session, lane, sequence, ttl)
if known then return known end

read_waiting(queue)
redis.call('HLEN', timeouts)
redis.call('HLEN', meta)
local hidden, unseen, confirmed = out_of_reach(processing, consumers, consumer, received, kept, tenure)
local length = redis.call('LLEN', processing)
local landed = redis.call('LRANGE', landing, 0, -1)
hidden = math.min(hidden, length)
local size = math.min(hidden, LIMIT)
if size + #landed > 0 then begin(session, ttl) end
if #landed > 0 then put_back(queue, landing, landed) end
local back = #landed
if size > 0 then
  back = back + go_back(queue, redis.call('LRANGE', processing, 0, size - 1))
  redis.call('LTRIM', processing, size, -1)
end
-- No get takes more than the limit, so an unseen batch has gone back whole, and its record with it. A record that an
-- older library's sweep made void would stay for ever.
if size > 0 or length == 0 then tidy(processing, timeouts, consumers, consumer, confirmed or unseen > 0) end
unregister(consumers, consumer, redis.call('HGET', consumers, consumer .. LANDING), blocked, server_time(now))
forget_sweeps(consumers, meta)
if size + #landed == 0 then return {NOTHING, 0, 0} end
return remember(session, lane, sequence, ttl, back, hidden - size)
