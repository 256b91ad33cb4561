"""The pure heart: what to say to the server, and what its answers mean.

Rules of this package, held by an import contract:

- No I/O, no clock, no randomness, no client library. What is needed of them comes in as an argument.
- One builder per operation (`ops`), one script per builder (`lua/`). A builder gives a frozen `Call`; equal arguments
  give equal Calls.
- Bytes inside. Only a codec knows values, and only a facade calls a codec.
- A script reads every key that it writes before its first write, because scripts do not roll back.
"""

from __future__ import annotations
