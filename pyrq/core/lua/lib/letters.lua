-- Dead letters: a list, newest at the head. A letter is
-- `<unix seconds> <deliveries> <bytes of consumer> <bytes of reason>\n<consumer><reason><item>`.

-- Adds letters for some items, the first of them first; the oldest of all go if there are more than `dead_max`, unless
-- that is empty.
local function write_letters(dead, dead_max, now, consumer, reason, items, counts)
  local letters = {}
  for i = 1, #items do
    letters[i] = string.format('%s %.0f %d %d\n', now, counts[i], #consumer, #reason) .. consumer .. reason .. items[i]
  end
  redis.call('LPUSH', dead, unpack(letters))
  if dead_max ~= '' then redis.call('LTRIM', dead, 0, tonumber(dead_max) - 1) end
end

-- Divides items by whether they may be delivered again: `again` and `counts_of_again`, `spent` and `counts_of_spent`.
-- Without a most, all may.
local function divide(items, counts, most)
  local limit = tonumber(most) or math.huge
  local again, counts_of_again, spent, counts_of_spent = {}, {}, {}, {}
  for i = 1, #items do
    if counts[i] < limit then
      again[#again + 1], counts_of_again[#counts_of_again + 1] = items[i], counts[i]
    else
      spent[#spent + 1], counts_of_spent[#counts_of_spent + 1] = items[i], counts[i]
    end
  end
  return again, counts_of_again, spent, counts_of_spent
end

-- Gives a list in the reverse order.
local function reversed(items)
  local other, size = {}, #items
  for i = 1, size do other[i] = items[size + 1 - i] end
  return other
end
