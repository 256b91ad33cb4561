-- Lanes: one effect per call. A session's hash holds, for each lane, `<last sequence> <reply>`.

local NOTHING, DONE, AGAIN, STALE = 0, 1, 2, 3
-- The reply of a sequence that was taken from its call.
local BURNT = ' burnt'

-- Gives the answer of a call that has run or must not run any more, or nil if it is to run now. Writes only when the
-- call has run: EXPIRE propagates, so that a WAIT behind a repeated call means something, and is allowed when the
-- server is full.
local function recall(session, lane, sequence, ttl)
  local record = redis.call('HGET', session, lane)
  if not record then return nil end
  local last, reply = string.match(record, '^(%d+)(.*)$')
  last, sequence = tonumber(last), tonumber(sequence)
  if sequence > last then return nil end
  if sequence < last or reply == BURNT then return {STALE} end
  redis.call('EXPIRE', session, ttl)
  local answer = {AGAIN}
  for number in string.gmatch(reply, '%-?%d+') do answer[#answer + 1] = tonumber(number) end
  return answer
end

-- Whether the session's time to live is fresh, so that it need not be set again.
local fresh = false

-- Opens the writes of a script that must work on a full server. A server decides about memory at the first write of a
-- script only; EXPIRE counts as a write and is always allowed, so what follows is allowed too. What follows can then
-- copy before it removes: nothing is lost even where a command is refused half-way.
local function begin(session, ttl)
  fresh = redis.call('EXPIRE', session, ttl) == 1
end

-- Keeps the sequence and the reply of a call, and gives its answer.
local function remember(session, lane, sequence, ttl, ...)
  redis.call('HSET', session, lane, sequence .. ' ' .. table.concat({...}, ' '))
  if not fresh then redis.call('EXPIRE', session, ttl) end
  return {DONE, ...}
end
