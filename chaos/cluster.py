"""The processes under test: servers behind proxies, engines and workers, and who starts again what has died.

All of them are children of one thread that lives as long as the cluster: the kernel ends a child with the thread that
started it. So everything here that starts or stops a process runs in that thread.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

from chaos.proxy import Proxy
from workflow_engine.bootstrap import migrate
from workflow_engine.embedded.places import free_port
from workflow_engine.embedded.postgres import Postgres
from workflow_engine.embedded.process import tail
from workflow_engine.embedded.readiness import engine_is_ready, workers_are_registered
from workflow_engine.embedded.services import Program, Service, Watched, engine_command
from workflow_engine.embedded.valkey import Valkey
from workflow_engine.errors import StackUnavailable

LEASE_SECONDS = 3.0
HEARTBEAT_SECONDS = 1.0
SWEEP_SECONDS = 0.5  # a quarter of two heartbeats, as in production
GRACE_SECONDS = 0.5  # that a worker gives its tasks to end when it is told to stop
MAX_CONNECTIONS = 100

_LOOK_SECONDS = 0.1
_READY_SECONDS = 90.0
_STOP_SECONDS = 30.0
_FORGOTTEN = ("DATABASE_URL", "REDIS_URL", "LOG_DIR", "PORT")  # a developer's shell must not lend its servers
_ROOT = Path(__file__).parents[1]

T = TypeVar("T")


class Process(Program):
    """One of ours, with a name that faults call it by."""

    def __init__(self, name: str, command: Sequence[str], env: dict[str, str], logs: Path) -> None:
        super().__init__(command, env=env, log=logs / f"{name}.log", grace=_STOP_SECONDS)
        self.name = name


class Cluster:
    """Everything that runs, as faults and checks see it.

    Args:
        directory: For data, logs and the ledger.
        engines, workers: How many.

    Attributes:
        postgres, redis: The servers themselves; `url` of each leads past the proxy.
        ways: The proxies by what they lead to: `postgres`, `redis`, `target`.
        engine_urls: Where the engines listen.
        restarts: How often something was found dead and started again, by name.
        trouble: What could not be started again, in words.
    """

    def __init__(self, directory: Path, engines: int, workers: int) -> None:
        self.directory = directory
        self.logs = directory / "logs"
        self.ledger = directory / "ledger.jsonl"
        taken: set[int] = set()

        def port() -> int:
            taken.add(found := free_port(avoid=frozenset(taken)))
            return found

        target_port = port()
        self.postgres = Postgres(
            directory / "postgres",
            port=port(),
            log=self.logs / "postgres.log",
            settings={"max_connections": str(MAX_CONNECTIONS), "log_min_duration_statement": "1s"},
        )
        self.redis = Valkey(directory / "valkey", preferred_port=port(), log=self.logs / "valkey.log")
        self.ways = {
            "postgres": Proxy(port(), self.postgres.port),
            "redis": Proxy(port(), 0),  # known when it has started
            "target": Proxy(port(), target_port),
        }
        self.engine_ports = [port() for _ in range(engines)]
        self.worker_ports = [port() for _ in range(workers)]
        self.engine_urls = [f"http://127.0.0.1:{number}" for number in self.engine_ports]
        self.restarts: dict[str, int] = {}
        self.trouble: list[str] = []
        self.engines: list[Process] = []
        self.workers: list[Process] = []
        self._target = Program(
            [sys.executable, "-m", "chaos.target", "--port", str(target_port), "--ledger", str(self.ledger)],
            env=self._bare(),
            log=self.logs / "target.log",
            grace=2,
        )
        self._watched: dict[str, Watched] = {}
        self._kept_down: set[str] = set()
        self._hands = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cluster")

    @property
    def target_url(self) -> str:
        """Where effects happen, past the proxy that may be broken."""
        return f"http://127.0.0.1:{self.ways['target'].port}/"

    async def do(self, work: Callable[[], T]) -> T:
        """Run something in the thread whose children the processes are."""
        return await asyncio.get_running_loop().run_in_executor(self._hands, work)

    async def start(self) -> None:
        """Start everything and wait until it is ready.

        Raises:
            StackUnavailable: It did not come up.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        await self.do(self._start_servers)
        self.ways["redis"].target = self.redis.port
        for way in self.ways.values():
            await way.accept()
        await self.do(self._start_programs)
        await self._await_ready()

    async def stop(self) -> None:
        """End everything, in order."""
        await self.do(self._stop)
        for way in self.ways.values():
            await way.close()
        self._hands.shutdown()

    async def tend(self) -> None:
        """Start again whatever dies, until cancelled, as a kubelet would."""
        while True:
            await self.do(self._tend_once)
            await asyncio.sleep(_LOOK_SECONDS)

    def keep_down(self, name: str) -> None:
        """Do not start this one again until `let_up`."""
        self._kept_down.add(name)

    def let_up(self, name: str | None = None) -> None:
        """Start it again when it is dead; None: all of them."""
        self._kept_down -= {name} if name else set(self._kept_down)

    def process(self, name: str) -> Service:
        return self._watched[name].service

    def processes(self) -> dict[str, int]:
        """The pids of engines and workers that run, by name."""
        return {each.name: each.pid for each in (*self.engines, *self.workers) if each.pid is not None}

    async def restart(self) -> None:
        """Stop and start everything that is ours, servers included, and wait until it is ready."""
        await self.do(self._stop)
        self._watched.clear()
        await self.do(self._start_servers)
        await self.do(self._start_programs)
        await self._await_ready()

    # In the thread of the processes -----------------------------------------------------------------------------------

    def _start_servers(self) -> None:
        self.postgres.start()
        self.redis.start()
        migrate(self.postgres.url)
        self._watch("postgres", self.postgres)
        self._watch("redis", self.redis)

    def _start_programs(self) -> None:
        common = {
            **self._bare(),
            "DATABASE_URL": _with_port(self.postgres.url, self.ways["postgres"].port),
            "REDIS_URL": _with_port(self.redis.url, self.ways["redis"].port),
            "HOST": "127.0.0.1",
            "LOG_DIR": "off",
            "WORKFLOW_INCLUDE": "chaos.handlers",
            "WORKFLOW_LEASE_SECONDS": str(LEASE_SECONDS),
            "WORKFLOW_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
            "WORKFLOW_SWEEP_SECONDS": str(SWEEP_SECONDS),
            "WORKER_SHUTDOWN_TIMEOUT": str(GRACE_SECONDS),
            "WORKER_CONCURRENCY": "20",
            "WORKFLOW_EGRESS": "open",  # the target is on this machine
        }
        self._target.start()
        self._watch("target", self._target)
        self.engines = [
            Process(f"engine-{n + 1}", engine_command("serve"), {**common, "PORT": str(port)}, self.logs)
            for n, port in enumerate(self.engine_ports)
        ]
        self.workers = [
            Process(
                f"worker-{n + 1}", engine_command("worker"), {**common, "WORKER_METRICS_PORT": str(port)}, self.logs
            )
            for n, port in enumerate(self.worker_ports)
        ]
        for process in (*self.workers, *self.engines):
            process.start()
            self._watch(process.name, process)

    def _bare(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        kept = {name: value for name, value in os.environ.items() if name not in _FORGOTTEN}
        return {**kept, "PYTHONPATH": path}

    def _watch(self, name: str, service: Service) -> None:
        self._watched[name] = Watched(name, service)

    def _tend_once(self) -> None:
        for name, watched in self._watched.items():
            if name in self._kept_down:
                continue
            try:
                if watched.tend():
                    self.restarts[name] = self.restarts.get(name, 0) + 1
            except StackUnavailable as error:
                self.trouble.append(f"{name}: {error.detail}")

    def _stop(self) -> None:
        for process in (*self.workers, *self.engines):
            if process.pid is not None:
                os.kill(process.pid, signal.SIGCONT)
        programs = [*self.workers, *self.engines, self._target]
        with ThreadPoolExecutor(max_workers=len(programs)) as pool:
            list(pool.map(lambda program: program.stop(), programs))
        self.redis.stop()
        self.postgres.stop()

    async def _await_ready(self) -> None:
        deadline = asyncio.get_running_loop().time() + _READY_SECONDS
        while not await asyncio.to_thread(self._is_ready):
            for process in (*self.engines, *self.workers):
                if not process.alive:
                    raise StackUnavailable(
                        f"{process.name} ended while starting:\n{tail(self.logs / f'{process.name}.log')}"
                    )
            if asyncio.get_running_loop().time() > deadline:
                raise StackUnavailable(f"Not ready within {_READY_SECONDS:g} s; see {self.logs}")
            await asyncio.sleep(_LOOK_SECONDS)

    def _is_ready(self) -> bool:
        pids = [worker.pid for worker in self.workers]
        return all(map(engine_is_ready, self.engine_ports)) and workers_are_registered(self.postgres.url, pids)


def this_host() -> str:
    """The name under which workers of this machine register."""
    return socket.gethostname()


def _with_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    netloc = f"{user}@127.0.0.1:{port}" if user else f"127.0.0.1:{port}"
    return urlunsplit(parts._replace(netloc=netloc))
