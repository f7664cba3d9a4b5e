"""Stock procrastinate: no-op jobs per second of two worker processes, in a database with its unmodified schema.

A job stands for one step with nothing around it: no workflow, no dependencies, no lease, no result, no history beyond
procrastinate's own events. The queue is filled first, so that fetching never waits for a wake-up.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass

import procrastinate

from workflow_engine.errors import StackUnavailable

_PROCESSES = 2
_TASK = "bench.noop"


@dataclass(frozen=True, slots=True)
class StockSettings:
    """What an operator of procrastinate may choose."""

    concurrency: int
    delete_jobs: str  # never | successful | always

    def __str__(self) -> str:
        return f"{_PROCESSES} x concurrency {self.concurrency}, delete_jobs={self.delete_jobs}"


CANDIDATES = (
    StockSettings(10, "never"),
    StockSettings(50, "never"),
    StockSettings(10, "successful"),
    StockSettings(50, "successful"),
)


def make_app(database_url: str, ran: list[float]) -> procrastinate.App:
    """An app with the one task; the time of each run is noted in `ran` (`time.time()`)."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=database_url))

    @app.task(name=_TASK)
    async def noop() -> None:
        ran.append(time.time())

    return app


def prepare(database_url: str) -> None:
    asyncio.run(_apply_schema(database_url))


def best_settings(database_url: str, jobs: int) -> StockSettings:
    """The one of the candidates that was fastest in two tries, one after the other round."""
    tries = [(jobs_per_second(database_url, settings, jobs // 2), settings) for settings in CANDIDATES * 2]
    return max(tries, key=lambda one: one[0])[1]


def jobs_per_second(database_url: str, settings: StockSettings, jobs: int) -> float:
    """Jobs per second from the first job's start to the last one's.

    Raises:
        StackUnavailable: A job was lost or ran twice.
    """
    asyncio.run(_defer(database_url, jobs))
    command = [sys.executable, "-m", "benchmarks.stock_worker", database_url]
    command += [str(settings.concurrency), settings.delete_jobs]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(_PROCESSES)
        ]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [json.loads(process.communicate()[0]) for process in processes]
    if sum(answer["jobs"] for answer in answers) != jobs:
        raise StackUnavailable(f"procrastinate ran {answers} of {jobs} jobs")
    busy = [answer for answer in answers if answer["jobs"]]
    return (jobs - 1) / float(max(a["last"] for a in busy) - min(a["first"] for a in busy))


async def _apply_schema(database_url: str) -> None:
    app = make_app(database_url, [])
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def _defer(database_url: str, jobs: int) -> None:
    app = make_app(database_url, [])
    async with app.open_async():
        await app.configure_task(_TASK).batch_defer_async(*({} for _ in range(jobs)))
