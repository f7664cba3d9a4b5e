"""Pages for operators at /admin, rendered on the server from the store: every engine shows the same.

What a page does, it asks of the API: `docs/dashboard.md` says how one is made.
"""
