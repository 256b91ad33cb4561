-- What is put off: a sorted set, score = unix seconds when due. A member is `<which call> <which of its items>\n<item>`,
-- so that equal items are separate, and items of one call keep their order.

-- Puts items off by some seconds each.
local function put_off(session, lane, sequence, delayed, items, waits, now)
  local members = {}
  for i = 1, #items do
    members[2 * i - 1] = string.format('%.6f', tonumber(now) + waits[i])
    members[2 * i] = string.format('%016d %04d %s %s\n', sequence, i, lane, session) .. items[i]
  end
  redis.call('ZADD', delayed, unpack(members))
end
