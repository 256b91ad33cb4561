-- bury: items that the consumer holds and can't use move to the dead letters, newest at the head.
--
-- A dead letter is `<unix seconds> <bytes of facts>\n<facts><item>`; the facts are JSON that the client wrote.
--
-- KEYS session processing timeouts consumers dead
-- ARGV lane sequence ttl received kept consumer facts now item...
-- REPLY {status, how many were held}
-- include lane
-- include held
-- include stamp

local session, processing, timeouts, consumers, dead = unpack(KEYS)
local lane, sequence, ttl, received, kept, consumer, facts, now = unpack(ARGV, 1, 8)
local FIRST = 9

local known = recall(session, lane, sequence, ttl)
if known then return known end

redis.call('LLEN', dead)
redis.call('HLEN', timeouts)
local hidden, _, confirmed = out_of_reach(processing, consumers, consumer, received, kept)
local plan = find_held(processing, hidden, FIRST)
local size = plan.size
if size == 0 then return {NOTHING, 0} end

local head = server_time(now) .. ' ' .. #facts .. '\n' .. facts
local found, letters = found_last_first(plan, FIRST), {}
for i = 1, size do letters[i] = head .. found[size + 1 - i] end
begin(session, ttl)
redis.call('LPUSH', dead, unpack(letters))
remove_held(processing, plan, session .. ' ' .. lane .. ' ' .. sequence)
tidy(processing, timeouts, consumers, consumer, confirmed)
return remember(session, lane, sequence, ttl, size)
