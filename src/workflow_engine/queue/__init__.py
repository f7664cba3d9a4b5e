"""procrastinate, behind what the engine needs of it. The only package that imports it.

Jobs are inserted, claimed and removed by SQL functions (`sql/functions/`), in the transaction that changes the state
they stand for; what is used from Python is procrastinate's schema, its worker registry and its notification channels.
"""
