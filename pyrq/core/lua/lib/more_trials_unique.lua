-- What a queue of unique items needs besides.
--
-- KEYS unique repair

local more_trials = {
  {'SADD', KEYS[1], '1'}, {'SCARD', KEYS[1]}, {'SMISMEMBER', KEYS[1], '1'}, {'SDIFFSTORE', KEYS[1], KEYS[1]},
  {'SREM', KEYS[1], '1'}, {'UNLINK', KEYS[1]},
}
