"""Private servers for `dev`, `demo` and the tests: real PostgreSQL and real Valkey, and stand-ins for the neighbours.

Nothing here is loaded by `serve` or `worker`; production brings its own servers.

launch.py       becomes another program that dies with its parent
process.py      child processes, and the account that root drops to
places.py       directories, locks and ports
binaries.py     where the servers' programs are
postgres.py     one PostgreSQL cluster, started and stopped
valkey.py       one Valkey, started and stopped
stack.py        everything together: servers, stand-ins, engines, workers; starts again what dies
services.py     what the stack watches: one shape for all of them
environment.py  what its processes are told
readiness.py    whether they are ready
terminal.py     what `dev` says
demo.py         the demo: a stack, and one workflow on it (showing.py, progress.py)
standins/       small HTTP servers that speak for Agent Mesh, Agent Brain and a model
"""
