"""What runs in the peers' processes, by their interpreters: nothing of this library can be imported there."""

from __future__ import annotations
