-- Leases: `<consumer>/lease` in the hash of consumers is `<seconds> <tenure>`. A tenure begins with the get that finds
-- its consumer holding nothing; it ends when that holds nothing any more, or was swept.

local LEASE = '/lease'

-- Gives the tenure of a lease, or nil.
local function tenure_of(lease)
  return string.match(lease or '', ' (%d+)$')
end

-- Gives the seconds of a lease, as text, or nil.
local function seconds_of(lease)
  return string.match(lease or '', '^(%d+%.?%d*) %d+$')
end
