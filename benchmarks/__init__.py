"""Measures py-rq against the older libraries' ways, others' packages, and the bare commands. See `make bench`.

`contest.py` times sides in turns; `rows/` are the contests; `sides/` the ways of moving items that run in this process,
`peers/` the released packages, in processes of their own; `report/` is what is made of the results.
"""

from __future__ import annotations
