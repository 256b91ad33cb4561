"""Goes on for as long as one likes: items, faults, kills and promotions side by side, and nothing that grows.

`python -m tests.soak MINUTES` (`make soak MINUTES=60`). Arenas go side by side, each with servers of its own: see
`network`, `workers`, `restarts` and `promotions`.
"""
