"""What is made of the results: a table, a page, charts, and a record that later runs compare themselves with."""

from __future__ import annotations
