"""The fault campaign: `make faults` breaks what can break between a program, its server and its disk, and counts.

Each module `NAME.py` of this folder whose name is in `rows.py` is a row of the campaign: one kind of fault, how much of
it, and a `run` that does it. `campaign.py` is what rows are given and how they are run, `ledger.py` how items are
accounted for, `storm.py` the proxy that loses things at random.
"""
