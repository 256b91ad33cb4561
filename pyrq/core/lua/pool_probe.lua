-- pool_probe: tries every command that the scripts of a pool use, on a key of its own, and names those that are
-- refused.
--
-- KEYS probe session queue
-- ARGV
-- REPLY {command, ...} refused
-- include trials

local probe = KEYS[1]

-- DEL comes first: it is allowed on a full server, and then so are the others.
return try({
  {'DEL', probe}, {'HSET', probe, '1', '1'}, {'HGET', probe, '1'}, {'HLEN', probe}, {'EXPIRE', probe, 60},
  {'UNLINK', probe}, {'ZADD', probe, 0, '1'}, {'ZCARD', probe}, {'ZCOUNT', probe, 0, 0}, {'ZSCORE', probe, '1'},
  {'ZMSCORE', probe, '1'}, {'ZRANGEBYSCORE', probe, 0, 0}, {'ZREM', probe, '1'}, {'TIME'}, {'DEL', probe},
})
