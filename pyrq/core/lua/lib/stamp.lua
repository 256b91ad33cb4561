-- Time, always the server's: read once a script, and kept as text, because servers format floats differently.

local function server_time(now)
  if now ~= '' then return now end
  local time = redis.call('TIME')
  return time[1] .. '.' .. string.rep('0', 6 - #time[2]) .. time[2]
end
