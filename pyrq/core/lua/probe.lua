-- probe: tries every command that the scripts use, on a key of its own, and names those that are refused.
--
-- KEYS probe queue processing timeouts consumers session dead
-- ARGV
-- REPLY {command, ...} refused

local probe = KEYS[1]
local refused = {}

local function is_refusal(text)
  return string.find(text, 'NOPERM', 1, true) or string.find(text, "can't run this command", 1, true)
    or string.find(text, 'ACL failure', 1, true) or string.find(text, 'no permissions', 1, true)
end

-- DEL comes first: it is allowed on a full server, and then so are the others.
local trials = {
  {'DEL', probe}, {'LPUSH', probe, '1'}, {'RPUSH', probe, '2'}, {'LSET', probe, 0, '3'}, {'LRANGE', probe, 0, 0},
  {'LLEN', probe}, {'LREM', probe, 1, '3'}, {'LTRIM', probe, 1, 0}, {'HSET', probe, '1', '1'}, {'HGET', probe, '1'},
  {'HLEN', probe}, {'HGETALL', probe}, {'EXPIRE', probe, 60}, {'EXISTS', probe}, {'RENAME', probe, probe},
  {'HDEL', probe, '1'}, {'TIME'}, {'DEL', probe},
}
for i = 1, #trials do
  local reply = redis.pcall(unpack(trials[i]))
  if type(reply) == 'table' and reply.err then
    if is_refusal(reply.err) then refused[#refused + 1] = trials[i][1]
    -- A command refused before it can leave the key in a type that the next one does not expect.
    elseif not string.find(reply.err, 'WRONGTYPE', 1, true) and not string.find(reply.err, 'no such key', 1, true)
      and not string.find(reply.err, 'out of range', 1, true) then return reply end
  end
end
return refused
