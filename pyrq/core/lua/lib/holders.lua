-- Who holds how much, by the hash of last contacts.

-- Gives for each consumer its key, its last contact and the length of its list. Anybody may write into the hash: what
-- is no processing key of this queue, or no list, is left out.
local function holders(timeouts, prefix)
  local fields, found = redis.call('HGETALL', timeouts), {}
  for i = 1, #fields, 2 do
    local key = fields[i]
    local length = string.sub(key, 1, #prefix) == prefix and redis.pcall('LLEN', key)
    if type(length) == 'number' then
      -- A list that a sweep has taken away and not given back yet is still that consumer's.
      local consumer = string.match(string.sub(key, #prefix + 1), '^[^/]*')
      found[#found + 1] = {consumer = consumer, at = tonumber(fields[i + 1]) or 0, length = length}
    end
  end
  return found
end
