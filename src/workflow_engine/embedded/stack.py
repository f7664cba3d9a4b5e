"""Everything on one machine: PostgreSQL, Valkey, stand-ins, engines and workers, watched by one process.

`Stack.run` starts them in order, writes `stack.json`, starts again whatever dies, and ends on SIGTERM, SIGINT or SIGHUP
by stopping them in the reverse order. The file in the data directory says what runs:

    {"url", "engine_urls": [], "database_url", "redis_url", "logs",
     "standins": {"agent_mesh", "agent_brain", "llm", "echo"},
     "pids": {"stack", "postgres", "redis", "standins", "engines": [], "workers": []}}

It is written when everything is ready, again whenever a process was replaced, and removed on a clean stop. A pid is
null for a server that was given (DATABASE_URL, REDIS_URL) and not started here.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from workflow_engine.bootstrap import migrate
from workflow_engine.embedded.environment import READY_SECONDS, Ports, environment, log_directory
from workflow_engine.embedded.places import DirectoryLock, make_data_directory, port_is_free, write_secret
from workflow_engine.embedded.postgres import Postgres
from workflow_engine.embedded.process import tail
from workflow_engine.embedded.readiness import engine_is_ready, workers_are_registered
from workflow_engine.embedded.services import Program, Service, Watched, engine_command
from workflow_engine.embedded.valkey import Valkey
from workflow_engine.errors import StackUnavailable

_LOOK_SECONDS = 0.1
_PORT_SECONDS = 5.0  # the processes of a stack that was killed may hold theirs for a moment
_ENGINE_GRACE = 15.0
_WORKER_GRACE = 5.0  # beyond what WORKER_SHUTDOWN_TIMEOUT gives its tasks
_STANDIN_GRACE = 2.0


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What to run.

    Attributes:
        data_directory: Data of the servers, logs, `stack.json`; made if it is not there.
        port: Port of the first engine, taken as it is; all others fall back to a free one.
        engines: Number of engine processes, >= 1.
        workers: Number of worker processes, >= 0.
        include: Modules with handlers for the workers, separated by commas; None = as WORKFLOW_INCLUDE says.
        mock_http: A local echo answers every `http` step.
    """

    data_directory: Path
    port: int = 3003
    engines: int = 1
    workers: int = 2
    include: str | None = None
    mock_http: bool = False


class Stack:
    """The whole stack. Use from the main thread, once."""

    def __init__(self, options: StackOptions) -> None:
        self._options = options
        self._directory = options.data_directory.absolute()
        self._file = self._directory / "stack.json"
        self._stopping = threading.Event()
        self._groups: list[list[Watched]] = []  # in the order of starting

    def run(self, when_ready: Callable[[Mapping[str, Any]], None]) -> None:
        """Start everything, call `when_ready` with the content of `stack.json`, and watch until a signal comes.

        Raises:
            StackUnavailable: It cannot start; whatever had been started is stopped again.
        """
        make_data_directory(self._directory)
        lock = DirectoryLock(self._directory)
        lock.acquire(f"workflow-engine dev on port {self._options.port}")
        try:
            self._file.unlink(missing_ok=True)  # of a run that was killed
            with self._signals():
                try:
                    self._start()
                    if not self._stopping.is_set():
                        when_ready(self._write_file())
                    self._watch()
                finally:
                    self._stop()
        finally:
            lock.release()

    def _start(self) -> None:
        options = self._options
        self._await_port()
        self._logs = log_directory(self._directory)
        self._ports = Ports.choose(options.port, options.engines, options.workers)
        standins = self._start_group([("standins", self._standins())])
        self._database_url, self._redis_url = self._start_servers()
        migrate(self._database_url)
        env = environment(
            self._ports,
            self._database_url,
            self._redis_url,
            options.include,
            mock_http=options.mock_http,
            logs=self._logs,
        )
        engines = self._start_group(
            [
                (f"engine-{number}", self._program("serve", {**env, "PORT": str(port)}, "app.log", _ENGINE_GRACE))
                for number, port in enumerate(self._ports.engines, 1)
            ]
        )
        patience = float(env["WORKER_SHUTDOWN_TIMEOUT"]) + _WORKER_GRACE
        workers = self._start_group(
            [
                (
                    f"worker-{number}",
                    self._program("worker", {**env, "WORKER_METRICS_PORT": str(port)}, "worker.log", patience),
                )
                for number, port in enumerate(self._ports.worker_metrics, 1)
            ]
        )
        self._standin, self._engines, self._workers = standins[0], engines, workers
        self._await_ready()

    def _start_servers(self) -> tuple[str, str]:
        """Bring up what is not given, and return both URLs."""
        database_url, redis_url = os.environ.get("DATABASE_URL", ""), os.environ.get("REDIS_URL", "")
        self._postgres: Watched | None = None
        self._redis: Watched | None = None
        if not database_url:
            postgres = Postgres(self._directory / "postgres", log=self._logs / "postgres.log")
            (self._postgres,) = self._start_group([("postgres", postgres)])
            database_url = postgres.url
        if not redis_url:
            valkey = Valkey(
                self._directory / "valkey", preferred_port=self._ports.preferred_redis, log=self._logs / "valkey.log"
            )
            (self._redis,) = self._start_group([("redis", valkey)])
            redis_url = valkey.url
        return database_url, redis_url

    def _standins(self) -> Program:
        command = [sys.executable, "-m", "workflow_engine.embedded.standins", *self._ports.standin_arguments]
        return Program(command, env=os.environ, log=self._logs / "standins.log", grace=_STANDIN_GRACE)

    def _program(self, command: str, env: Mapping[str, str], log: str, grace: float) -> Program:
        return Program(engine_command(command), env=env, log=self._logs / log, grace=grace)

    def _start_group(self, services: list[tuple[str, Service]]) -> list[Watched]:
        group: list[Watched] = []
        self._groups.append(group)
        for name, service in services:
            group.append(
                Watched(name, service)
            )  # before it starts, so that it is stopped also when that fails half-way
            service.start()
        return group

    def _await_port(self) -> None:
        deadline = time.monotonic() + _PORT_SECONDS
        while not port_is_free(self._options.port):
            if self._stopping.wait(_LOOK_SECONDS) or time.monotonic() > deadline:
                raise StackUnavailable(
                    f"Port {self._options.port} is taken by another process", hint="Choose another with --port."
                )

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self._stopping.wait(_LOOK_SECONDS / 2):
            self._require_alive()
            pids = [watched.service.pid for watched in self._workers]
            if all(map(engine_is_ready, self._ports.engines)) and workers_are_registered(self._database_url, pids):
                return
            if time.monotonic() > deadline:
                raise StackUnavailable(f"The engine was not ready within {READY_SECONDS:g} s; see {self._logs}")

    def _require_alive(self) -> None:
        """While starting, a death is told and not repaired: most likely a setting is wrong, and always will be."""
        for log, group in (("app.log", self._engines), ("worker.log", self._workers)):
            for watched in group:
                if not watched.service.alive:
                    path = self._logs / log
                    raise StackUnavailable(f"{watched.name} ended while starting; the end of {path}:\n{tail(path)}")

    def _watch(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            for watched in [watched for group in self._groups for watched in group]:
                if self._stopping.is_set():
                    return
                try:
                    if watched.tend():
                        _say(f"{watched.name} had died and was started again (pid {watched.service.pid})")
                        self._write_file()
                except StackUnavailable as error:
                    _say(f"{watched.name}: {error.detail}")

    def _stop(self) -> None:
        self._file.unlink(missing_ok=True)
        for group in reversed(self._groups):
            with ThreadPoolExecutor(max_workers=max(1, len(group))) as pool:
                list(pool.map(lambda watched: watched.service.stop(), group))

    def _facts(self) -> dict[str, Any]:
        def pid(watched: Watched | None) -> int | None:
            return watched.service.pid if watched else None

        return {
            "url": self._ports.engine_urls[0],
            "engine_urls": self._ports.engine_urls,
            "database_url": self._database_url,
            "redis_url": self._redis_url,
            "logs": str(self._logs),
            "standins": self._ports.standin_urls,
            "pids": {
                "stack": os.getpid(),
                "postgres": pid(self._postgres),
                "redis": pid(self._redis),
                "standins": pid(self._standin),
                "engines": [pid(watched) for watched in self._engines],
                "workers": [pid(watched) for watched in self._workers],
            },
        }

    def _write_file(self) -> dict[str, Any]:
        facts = self._facts()
        write_secret(self._file, json.dumps(facts, indent=2) + "\n")
        return facts

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """A first signal ends the watch; children get none of it, since each has a session of its own."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            self._stopping.set()

        numbers = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
            numbers.append(signal.SIGHUP)
        before = [signal.signal(number, stop) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)


def _say(message: str) -> None:
    print(f"workflow-engine dev: {message}", file=sys.stderr, flush=True)
