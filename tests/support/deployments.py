"""A whole stack whose engines and workers are kept as Kubernetes keeps deployments, without Kubernetes.

`python -m support.deployments DIRECTORY --engines 2 --workers 2` starts PostgreSQL, Valkey, the stand-ins, and the
deployments `workflow-engine` and `workflow-workers`, and writes `DIRECTORY/stack.json` as `workflow-engine dev` does.
It then brings what runs to what is wanted: it starts again what dies, scales, and rolls a change through, one process
after the other. What is wanted is told through the socket `DIRECTORY/control`, one JSON line each way; the program
`kubectl` of this folder is what speaks to it. Everything ends with SIGTERM, or with the parent.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from support import warm
from workflow_engine.bootstrap import migrate
from workflow_engine.embedded.environment import Ports, environment
from workflow_engine.embedded.places import free_port, write_secret
from workflow_engine.embedded.postgres import Postgres
from workflow_engine.embedded.process import Child
from workflow_engine.embedded.readiness import engine_is_ready, workers_are_registered
from workflow_engine.embedded.services import Program
from workflow_engine.embedded.valkey import Valkey

_LOOK_SECONDS = 0.1
_CRASH_PAUSE_SECONDS = 0.5

# What a container in a pod logs to stdout is kept per start, as kubectl shows it.
PORT_VARIABLES = {"serve": "PORT", "worker": "WORKER_METRICS_PORT"}


@dataclass
class Pod:
    """One process of a deployment; the next one in its place is another pod."""

    name: str
    port: int
    child: Child | warm.WarmChild
    generation: int
    log: Path
    ready: bool = False

    def as_json(self) -> dict[str, Any]:
        memory = psutil.Process(self.child.pid).memory_info().rss if self.child.alive else 0
        return {"name": self.name, "pid": self.child.pid, "ready": self.ready, "log": str(self.log), "rss": memory}


class Deployment:
    """Processes of one kind, and what is wanted of them.

    Args:
        name: As the runbook calls it.
        command: Of the command line: `serve` or `worker`.
        ports: One for each process; more are found when it is scaled up.
        env: The whole environment.
        logs: Folder for one file per pod.
        is_ready: Tells whether a pod is.
        grace: Seconds it may take to stop before it is killed.
    """

    def __init__(
        self,
        name: str,
        *,
        command: str,
        ports: list[int],
        env: dict[str, str],
        logs: Path,
        is_ready: Callable[[Pod], bool],
        grace: float,
    ) -> None:
        self.name = name
        self.replicas = self._replicas_at_start = len(ports)
        self.env: dict[str, str] = {}  # beyond that of the start
        self.pods: list[Pod] = []
        self._command = command
        self._ports = list(ports)
        self._env = env
        self._logs = logs
        self._is_ready = is_ready
        self._grace = grace
        self._generation = 1
        self._at_once = False  # and not one after the other
        self._started = 0

    @property
    def complete(self) -> bool:
        """Whether what runs is what is wanted."""
        return len(self.pods) == self.replicas and all(
            pod.ready and pod.child.alive and pod.generation == self._generation for pod in self.pods
        )

    def restart(self, env: dict[str, str | None] | None = None) -> None:
        """Have every process replaced, with a changed environment if one is given (None takes a variable out)."""
        for name, value in (env or {}).items():
            if value is None:
                self.env.pop(name, None)
            else:
                self.env[name] = value
        self._generation += 1

    def kill(self) -> None:
        """kill -9 all of them."""
        for pod in self.pods:
            pod.ready = False
            pod.child.stop(signal.SIGKILL)

    def reset(self) -> None:
        """Want again what was wanted at the start, soon; what runs so already stays."""
        self.replicas = self._replicas_at_start
        if self.env:
            self.restart(dict.fromkeys(self.env))
            self._at_once = True

    async def tend(self) -> None:
        """One step towards what is wanted."""
        if len(self.pods) > self.replicas:
            surplus, self.pods = self.pods[self.replicas :], self.pods[: self.replicas]
            await asyncio.gather(*map(self._stop, surplus))
        for slot in range(self.replicas):
            if slot >= len(self.pods):
                self.pods.append(self._start(slot))
            elif not self.pods[slot].child.alive:
                await asyncio.sleep(_CRASH_PAUSE_SECONDS if not self.pods[slot].ready else 0)
                self.pods[slot] = self._start(slot)
        for pod in self.pods:
            if not pod.ready:
                pod.ready = await asyncio.to_thread(self._is_ready, pod)
        outdated = [slot for slot, pod in enumerate(self.pods) if pod.generation != self._generation]
        if outdated and (self._at_once or all(pod.ready for pod in self.pods)):
            replaced = outdated if self._at_once else outdated[:1]
            self._at_once = False
            await asyncio.gather(*(self._stop(self.pods[slot]) for slot in replaced))
            for slot in replaced:
                self.pods[slot] = self._start(slot)

    async def close(self) -> None:
        self.replicas = 0
        await asyncio.gather(*map(self._stop, self.pods))

    def _start(self, slot: int) -> Pod:
        while slot >= len(self._ports):
            self._ports.append(free_port(avoid=frozenset(self._ports)))
        self._started += 1
        port, name = self._ports[slot], f"{self.name}-{slot}-{self._started}"
        env = {**self._env, **self.env, PORT_VARIABLES[self._command]: str(port), "HOSTNAME": name}
        log = self._logs / f"{name}.log"
        return Pod(name, port, warm.start((self._command,), env=env, log=log), self._generation, log)

    async def _stop(self, pod: Pod) -> None:
        pod.ready = False
        if not pod.child.alive:
            return
        pod.child.send(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace):
                await _until(lambda: not pod.child.alive)
        pod.child.stop(signal.SIGKILL)


class Supervisor:
    """Everything that runs, and the requests about it. Its processes are started from the main thread alone."""

    def __init__(self, directory: Path, engines: int, workers: int, grace: float) -> None:
        self._directory = directory
        self._logs = directory / "logs"
        self._logs.mkdir(exist_ok=True)
        self._ports = Ports.choose(free_port(), engines, workers)
        standins = [sys.executable, "-m", "workflow_engine.embedded.standins", *self._ports.standin_arguments]
        self._standins = Program(standins, env=os.environ, log=self._logs / "standins.log", grace=2)
        self._postgres = Postgres(directory / "postgres", log=self._logs / "postgres.log")
        self._redis = Valkey(directory / "valkey", log=self._logs / "valkey.log")
        self._grace = grace
        self._written: dict[str, Any] = {}

    async def run(self) -> None:
        self._standins.start()
        self._postgres.start()
        self._redis.start()
        migrate(self._postgres.url)
        env = environment(self._ports, self._postgres.url, self._redis.url, None, mock_http=True, logs=self._logs)
        common: dict[str, Any] = {"env": env, "logs": self._logs / "pods", "grace": self._grace}
        engines = Deployment(
            "workflow-engine",
            command="serve",
            ports=self._ports.engines,
            is_ready=lambda pod: engine_is_ready(pod.port),
            **common,
        )
        workers = Deployment(
            "workflow-workers",
            command="worker",
            ports=self._ports.worker_metrics,
            is_ready=lambda pod: workers_are_registered(self._postgres.url, [pod.child.pid]),
            **common,
        )
        self._deployments = {deployment.name: deployment for deployment in (engines, workers)}
        ending = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ending.set)
        tending = [asyncio.create_task(self._tend(deployment)) for deployment in self._deployments.values()]
        await self._until_complete()
        async with await asyncio.start_unix_server(self._answer, self._directory / "control"):
            self._write_file()
            await ending.wait()
        for task in tending:
            task.cancel()
        await asyncio.gather(*tending, return_exceptions=True)
        await asyncio.gather(*(deployment.close() for deployment in self._deployments.values()))
        self._redis.stop()
        self._postgres.stop()
        self._standins.stop()

    async def _tend(self, deployment: Deployment) -> None:
        while True:
            try:
                await deployment.tend()
                self._write_file()
            except Exception:  # whoever waits for this deployment finds it in the log
                traceback.print_exc()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _until_complete(self, name: str | None = None) -> None:
        names = [name] if name else list(self._deployments)
        await _until(lambda: all(self._deployments[name].complete for name in names))

    def _write_file(self) -> None:
        engines, workers = (self._deployments[name] for name in ("workflow-engine", "workflow-workers"))
        urls = [f"http://127.0.0.1:{pod.port}" for pod in engines.pods]
        facts = {
            "url": self._ports.engine_urls[0],
            "engine_urls": urls,
            "database_url": self._postgres.url,
            "redis_url": self._redis.url,
            "logs": str(self._logs),
            "standins": self._ports.standin_urls,
            "worker_metrics": [pod.port for pod in workers.pods],
            "pids": {
                "stack": os.getpid(),
                "postgres": self._postgres.pid,
                "redis": self._redis.pid,
                "standins": self._standins.pid,
                "engines": [pod.child.pid for pod in engines.pods],
                "workers": [pod.child.pid for pod in workers.pods],
            },
        }
        if facts != self._written:
            write_secret(self._directory / "stack.json", json.dumps(facts, indent=2) + "\n")
            self._written = facts

    # Requests ---------------------------------------------------------------------------------------------------------

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = json.loads(await reader.readline())
        operations: dict[str, Callable[..., Awaitable[Any]]] = {
            "restart": self._restart,
            "await-rollout": self._until_complete,
            "kill": self._kill,
            "await-ready": self._await_ready,
            "scale": self._scale,
            "pods": self._pods,
            "redis": self._switch_redis,
            "reset": self._reset,
        }
        try:
            answer = {"answer": await operations[request.pop("do")](**request)}
        except Exception as error:  # told to whoever asked, who is a test
            answer = {"error": f"{type(error).__name__}: {error}"}
        writer.write(json.dumps(answer).encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    async def _restart(self, name: str, env: dict[str, str | None] | None = None) -> None:
        self._deployments[name].restart(env)

    async def _kill(self, name: str) -> list[str]:
        names = [pod.name for pod in self._deployments[name].pods]
        self._deployments[name].kill()
        return names

    async def _await_ready(self, name: str) -> list[str]:
        deployment = self._deployments[name]
        await _until(lambda: all(pod.ready and pod.child.alive for pod in deployment.pods))
        return [pod.name for pod in deployment.pods]

    async def _scale(self, name: str, replicas: int) -> None:
        self._deployments[name].replicas = replicas

    async def _pods(self, name: str) -> list[dict[str, Any]]:
        return [pod.as_json() for pod in self._deployments[name].pods]

    async def _switch_redis(self, on: bool) -> None:
        if on:
            self._redis.start()
        else:
            self._redis.stop()

    async def _reset(self) -> None:
        self._redis.start()
        for deployment in self._deployments.values():
            deployment.reset()
        await self._until_complete()


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 nobody tells when a process ends
        await asyncio.sleep(_LOOK_SECONDS / 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--engines", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--grace", type=float, default=6.0, help="seconds from SIGTERM to SIGKILL")
    given = parser.parse_args()
    asyncio.run(Supervisor(given.directory.absolute(), given.engines, given.workers, given.grace).run())


if __name__ == "__main__":
    main()
