"""An engine and workers as users run them: processes, HTTP in, SQL to look inside.

Leases are short, so that a takeover takes seconds; all else is as in production.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import httpx

from support import acceptance_handlers
from support.eventually import eventually
from support.ledger import Ledger
from support.processes import EngineProcess
from support.truth import Truth
from support.users import Users
from workflow_engine.embedded.places import free_port

LEASE_SECONDS = 3.0
HEARTBEAT_SECONDS = 1.0
TAKEOVER_SECONDS = 15.0  # lease, sweep, and patience with a busy machine

_TESTS = Path(__file__).parents[1]
_FORGOTTEN = ("DATABASE_URL", "REDIS_URL", "LOG_DIR", "PORT")  # a developer's shell must not lend its servers


def environment(ledger: Ledger) -> dict[str, str]:
    """Settings of processes that serve the handlers of `acceptance_handlers` and notice the dead within seconds."""
    return {
        **{name: value for name, value in os.environ.items() if name not in _FORGOTTEN},
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_TESTS), os.environ.get("PYTHONPATH")])),
        "WORKFLOW_INCLUDE": acceptance_handlers.__name__,
        acceptance_handlers.LEDGER: str(ledger.path),
        "WORKFLOW_LEASE_SECONDS": str(LEASE_SECONDS),
        "WORKFLOW_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
        "WORKFLOW_SWEEP_SECONDS": "0.5",
        "LOG_LEVEL": "info",
    }


class Cluster(Users, Truth):
    """The processes of one test.

    Args:
        directory: For logs and the ledger.
        database_url: Of a migrated database.
        redis_url: Of the mirror; it may be down.
        env: Settings of all its processes.

    Attributes:
        engine: The one that `up` started.
        env: The environment of all its processes.
        cold: Whether processes are started in the usual way, which takes longer (see `warm`).
    """

    engine: EngineProcess
    cold = False

    def __init__(self, directory: Path, database_url: str, redis_url: str, **env: str) -> None:
        Users.__init__(self)  # its URL is known when the engine is up
        Truth.__init__(self, database_url)
        self._directory = directory
        self.ledger = Ledger(directory / "ledger.jsonl")
        self.processes: list[EngineProcess] = []
        self._engines: list[tuple[EngineProcess, str]] = []
        self.env = {
            **environment(self.ledger),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "HOST": "127.0.0.1",
            "WORKER_METRICS_PORT": "0",
            "LOG_DIR": str(directory / "logs"),
            **env,
        }

    # Processes --------------------------------------------------------------------------------------------------------

    def up(self, workers: int = 1, **env: str) -> list[EngineProcess]:
        """Start an engine, to which `start` then speaks, and workers, all at once; returns the ready workers."""
        self.engine, self.url = self.begin_engine(**env)
        started = [self.begin_worker(**env) for _ in range(workers)]
        for worker in started:
            worker.says("worker registered")
        self.await_ready()
        return started

    def await_ready(self) -> None:
        """Wait until the engine last started serves."""
        engine, url = self._engines[-1]

        def ready() -> bool:
            assert engine.alive, engine.output[-3000:]
            try:
                return httpx.get(f"{url}/readyz", timeout=5, trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        eventually(ready, 30, message=f"not ready:\n{engine.output[-3000:]}")

    def begin_engine(self, **env: str) -> tuple[EngineProcess, str]:
        """Start `workflow-engine serve` and wait for nothing; returns it and its URL."""
        port = env.pop("PORT", None) or str(free_port())
        engine, url = self._start("serve", env={**env, "PORT": port}), f"http://127.0.0.1:{port}"
        self._engines.append((engine, url))
        return engine, url

    def worker(self, **env: str) -> EngineProcess:
        """Start `workflow-engine worker` and wait until it has registered."""
        worker = self.begin_worker(**env)
        worker.says("worker registered")
        return worker

    def begin_worker(self, **env: str) -> EngineProcess:
        """Start `workflow-engine worker` and wait for nothing."""
        return self._start("worker", env=env)

    def close(self) -> None:
        """End what still runs."""
        for process in self.processes:
            process.kill()
        self.close_users()

    def _start(self, command: str, env: Mapping[str, str]) -> EngineProcess:
        log = self._directory / f"{command}-{len(self.processes) + 1}.log"
        process = EngineProcess(command, env={**self.env, **env}, log=log, cold=self.cold)
        self.processes.append(process)
        return process

    def diagnosis(self) -> str:
        processes = [(process.pid, "alive" if process.alive else process.output[-300:]) for process in self.processes]
        return f"processes: {processes}\n{super().diagnosis()}"
