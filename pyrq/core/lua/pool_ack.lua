-- pool_ack: items that are handed out are done with; each is due again `ack_valid_for` seconds from now.
--
-- KEYS session queue
-- ARGV lane sequence ttl ack_valid_for now item...
-- REPLY {status, how many were handed out}
-- include lane
-- include stamp
-- include leases

local session, pool = unpack(KEYS)
local lane, sequence, ttl, ack_valid_for, now = unpack(ARGV, 1, 5)
local FIRST = 6

local known = recall(session, lane, sequence, ttl)
if known then return known end

local scores, due = redis.call('ZMSCORE', pool, unpack(ARGV, FIRST)), seconds_from(server_time(now), ack_valid_for)
local scheduled, size = {}, 0
for i = 1, #scores do
  if is_marked(scores[i]) then
    scheduled[size + 1], scheduled[size + 2] = due, ARGV[FIRST - 1 + i]
    size = size + 2
  end
end
if size == 0 then return {NOTHING, 0} end
begin(session, ttl)
-- A whole score is never what a marked one was: each item counts as changed, once.
return remember(session, lane, sequence, ttl, redis.call('ZADD', pool, 'CH', unpack(scheduled)))
