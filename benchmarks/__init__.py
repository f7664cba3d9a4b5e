"""Benchmarks of the engine, beside what the same server can do at most and beside stock procrastinate.

One file per group of scenarios; `__main__.py` runs them all. No assertion about speed is made here: the figures are
printed next to the goals, and the results themselves are checked (all workflows succeeded, each task ran once).
"""
