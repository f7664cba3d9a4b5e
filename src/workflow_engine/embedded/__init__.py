"""Private servers for `dev`, `demo` and the tests: real PostgreSQL and real Valkey, and stand-ins for the neighbours.

Nothing here is loaded by `serve` or `worker`; production brings its own servers.

process.py    child processes that never outlive their parent, and the account root drops to
places.py     directories, locks and ports
binaries.py   where the servers' programs are
postgres.py   one PostgreSQL cluster, started and stopped
valkey.py     one Valkey, started and stopped
stack.py      everything together: servers, stand-ins, engines, workers; restarts what dies
services.py   what the stack watches: one shape for all of them
standins/     small HTTP servers that speak for Agent Mesh, Agent Brain and a model
"""
