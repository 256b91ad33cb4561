-- A plain queue needs no more.

local more_trials = {}
