-- How often items were delivered in vain: a hash, item -> how often; `<how often> swept` if its consumer fell silent the
-- last time, so that the item may be what kills its consumers. It is there only while something failed.

-- For so many seconds after the last failure, and the wait that followed it, counts are kept.
local COUNTS_KEPT = 604800

-- Says whether there are counts; a wrong type fails here.
local function has_counts(deliveries)
  return redis.call('EXISTS', deliveries) == 1 and redis.call('HLEN', deliveries) > 0
end

-- Gives how often each of some items was delivered, this time included. Equal items are counted together.
local function count_deliveries(deliveries, items)
  local known, counts, seen = redis.call('HMGET', deliveries, unpack(items)), {}, {}
  for i = 1, #items do
    local item = items[i]
    local count = (seen[item] or tonumber(string.match(known[i] or '', '^%d+')) or 0) + 1
    seen[item], counts[i] = count, count
  end
  return counts
end

-- Keeps the counts of items that are to be delivered again; those of the others are forgotten. `wait` is for how many
-- seconds they are put off at the most, `mark` what stands behind the count.
local function keep_counts(deliveries, again, counts, others, wait, mark)
  if #others > 0 then redis.call('HDEL', deliveries, unpack(others)) end
  if #again == 0 then return end
  local pairs_of = {}
  for i = 1, #again do pairs_of[2 * i - 1], pairs_of[2 * i] = again[i], string.format('%.0f', counts[i]) .. mark end
  redis.call('HSET', deliveries, unpack(pairs_of))
  local ttl = COUNTS_KEPT + math.ceil(wait)
  if redis.call('TTL', deliveries) < ttl then redis.call('EXPIRE', deliveries, string.format('%.0f', ttl)) end
end
