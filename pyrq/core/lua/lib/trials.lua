-- Trying out commands.

local function is_refusal(text)
  return string.find(text, 'NOPERM', 1, true) or string.find(text, "can't run this command", 1, true)
    or string.find(text, 'ACL failure', 1, true) or string.find(text, 'no permissions', 1, true)
end

-- A command that was refused before can leave the key in a type, or a state, that the next one does not expect.
local function is_aftermath(text)
  return string.find(text, 'WRONGTYPE', 1, true) or string.find(text, 'no such key', 1, true)
    or string.find(text, 'out of range', 1, true)
end

-- Gives the names of the commands that are refused, or the reply of one that fails otherwise.
local function try(trials)
  local refused = {}
  for i = 1, #trials do
    local reply = redis.pcall(unpack(trials[i]))
    local failure = type(reply) == 'table' and reply.err
    if failure and is_refusal(failure) then
      refused[#refused + 1] = trials[i][1]
    elseif failure and not is_aftermath(failure) then
      return reply
    end
  end
  return refused
end
