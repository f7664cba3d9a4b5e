"""Real processes under load while faults are inflicted on them; in the end what is known outside of them is compared
with what they say. `make chaos` runs it; README.md says how to read what it tells.
"""
