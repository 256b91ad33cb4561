-- Leases: `<consumer>/lease` in the hash of consumers is `<seconds> <tenure>`. A tenure begins with the get that finds
-- its consumer holding nothing; it ends when that holds nothing any more, or was swept.

local LEASE = '/lease'
