-- A pool's scores: unix seconds when an item is due; a fraction of .1 marks one that is handed out. Scores are written
-- as text and compared as numbers, because servers format floats differently.

local MARK = '.1'

-- Gives the text of a time some whole seconds after now.
local function seconds_from(now, seconds)
  return string.format('%.0f', math.floor(tonumber(now)) + tonumber(seconds))
end

-- Says whether a score, as the server gave it, is that of an item that is handed out.
local function is_marked(score)
  return score and score % 1 > 0.01
end

-- Sets the score of some items.
local function schedule(pool, items, score)
  local pairs_of = {}
  for i = 1, #items do pairs_of[2 * i - 1], pairs_of[2 * i] = score, items[i] end
  return redis.call('ZADD', pool, unpack(pairs_of))
end
