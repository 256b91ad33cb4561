-- What stands behind the count of an item's deliveries if its consumer fell silent the last time.

local SWEPT = ' swept'
