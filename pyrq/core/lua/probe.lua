-- probe: tries every command that the scripts of a queue use, on a key of its own, and names those that are refused.
--
-- KEYS probe session queue processing timeouts consumers dead landing delayed deliveries meta retry_count
-- KEYS retry_timeout
-- ARGV
-- REPLY {command, ...} refused
-- include trials
-- include more_trials_KIND

local probe = KEYS[1]

-- DEL comes first: it is allowed on a full server, and then so are the others.
local trials = {
  {'DEL', probe}, {'LPUSH', probe, '1'}, {'RPUSH', probe, '2'}, {'LSET', probe, 0, '3'}, {'LRANGE', probe, 0, 0},
  {'LLEN', probe}, {'LREM', probe, 1, '3'}, {'LTRIM', probe, 1, 0},
  {'LMOVE', probe, probe, 'RIGHT', 'LEFT'},
  {'HSET', probe, '1', '1'}, {'HGET', probe, '1'}, {'HLEN', probe}, {'HGETALL', probe},
  {'HMGET', probe, '1'}, {'TTL', probe}, {'EXPIRE', probe, 60}, {'EXISTS', probe}, {'RENAME', probe, probe},
  {'HDEL', probe, '1'}, {'TIME'}, {'ZADD', probe, '1', '1'}, {'ZCARD', probe}, {'ZRANGE', probe, 0, 0},
  {'ZRANGEBYSCORE', probe, 0, 1}, {'ZREM', probe, '1'},
}
for i = 1, #more_trials do trials[#trials + 1] = more_trials[i] end
trials[#trials + 1] = {'DEL', probe}
return try(trials)
