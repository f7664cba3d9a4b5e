"""What faults see and touch: the cluster, the truth in Postgres (asked directly, past the proxy), metrics."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import psutil
import psycopg
from psycopg.rows import dict_row

from chaos.client import Client
from chaos.cluster import Cluster, Process, this_host
from chaos.driver import Driver

_LOOK_SECONDS = 0.03
_SQL_SECONDS = 30

T = TypeVar("T")

AWAY = (psycopg.OperationalError, psycopg.InterfaceError)
"""What a question ends with while Postgres is away."""

_HELD = """
select w.pid, w.id as worker, array_agg(t.id) as tasks, array_agg(t.attempt) as attempts,
       count(*) filter (where t.started_at < now() - interval '0.2 s') as slow
from workflow.tasks t join workflow.workers w on w.id = t.worker_id
where t.status = 'running' and w.host = %s group by 1, 2
"""

_NEXT = """
select h.task, h.attempt, n.started_at, t.finished_at,
       (select a.outcome from workflow.attempt_history a where a.task_id = h.task and a.attempt = h.attempt) as outcome
from unnest(%s::bigint[], %s::integer[]) as h(task, attempt)
left join workflow.tasks t on t.id = h.task
left join lateral (
    select min(a.started_at) as started_at from workflow.attempts a
    where a.task_id = h.task and a.attempt = h.attempt + 1) n on true
"""


@dataclass(frozen=True, slots=True)
class Held:
    """What a worker was running at some moment."""

    process: Process
    pid: int
    worker: int
    tasks: list[int]
    attempts: list[int]
    slow: int  # of them run for a while already


@dataclass(frozen=True, slots=True)
class Next:
    """What became of one attempt."""

    task: int
    outcome: str | None  # of the attempt; None: it has not ended
    again_at: float | None  # when the next attempt began, in seconds since the epoch
    over: bool  # there will be no other, as the task has ended


class World:
    """The cluster under test while a run lasts.

    Attributes:
        chance: Of the faults; seeded.
        standing: Ids of the tasks that are pending for as long as the run lasts.
        holding: The workflow that keeps a lock for as long.
    """

    def __init__(self, cluster: Cluster, client: Client, driver: Driver, seed: int) -> None:
        self.cluster = cluster
        self.client = client
        self.driver = driver
        self.chance = random.Random(f"{seed}/nemesis")
        self.standing: list[str] = []
        self.holding = ""
        self._http = httpx.AsyncClient(timeout=2, trust_env=False)
        self._connection: psycopg.AsyncConnection[dict[str, Any]] | None = None
        self._asking = asyncio.Lock()

    async def close(self) -> None:
        await self._http.aclose()
        await self.forget()

    async def forget(self) -> None:
        """Ask over a new connection next."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    # The truth --------------------------------------------------------------------------------------------------------

    async def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """Ask Postgres itself.

        Raises:
            psycopg.Error: It is away.
        """
        async with self._asking:
            if self._connection is None:
                self._connection = await psycopg.AsyncConnection.connect(
                    self.cluster.postgres.url, row_factory=dict_row, autocommit=True, connect_timeout=5,
                    application_name="chaos", options=f"-c statement_timeout={_SQL_SECONDS}s",
                )  # fmt: skip
            try:
                cursor = await self._connection.execute(query.encode(), parameters)
                return await cursor.fetchall() if cursor.description else []
            except AWAY:
                await self.forget()
                raise

    async def value(self, query: str, *parameters: Any) -> Any:
        [row] = await self.rows(query, *parameters)
        return next(iter(row.values()))

    async def holds_lock(self) -> bool:
        """Whether the workflow that keeps a lock still does."""
        return bool(
            await self.value("select exists(select 1 from workflow.holds where workflow_id = %s)", self.holding)
        )

    async def held(self) -> list[Held]:
        """What each worker that runs something is running."""
        by_pid = {worker.pid: worker for worker in self.cluster.workers if worker.pid is not None}
        return [
            Held(by_pid[row["pid"]], row["pid"], row["worker"], row["tasks"], row["attempts"], row["slow"])
            for row in await self.rows(_HELD, this_host())
            if row["pid"] in by_pid
        ]

    async def held_by(self, worker: int) -> tuple[list[int], list[int]]:
        """Tasks and attempts that are in the name of a registered worker."""
        found = await self.rows(
            "select id, attempt from workflow.tasks where status = 'running' and worker_id = %s", worker
        )
        return [row["id"] for row in found], [row["attempt"] for row in found]

    async def busy_worker(self) -> Held | None:
        """A worker that is running several tasks that take their time; None if there is none for ten seconds."""
        return await self.find(self._busiest, 10)

    async def _busiest(self) -> Held | None:
        busy = [held for held in await self.held() if held.slow >= 2]
        return self.chance.choice(sorted(busy, key=lambda held: held.process.name)) if busy else None

    async def next_attempts(self, tasks: Sequence[int], attempts: Sequence[int]) -> list[Next]:
        return [
            Next(
                row["task"],
                row["outcome"],
                row["started_at"].timestamp() if row["started_at"] else None,
                row["finished_at"] is not None,
            )
            for row in await self.rows(_NEXT, list(tasks), list(attempts))
        ]

    async def taken_over(self, tasks: Sequence[int], attempts: Sequence[int], seconds: float) -> list[Next]:
        """Wait until each of these attempts has ended and was followed by another, or the task is over."""

        async def settled() -> list[Next] | None:
            found = await self.next_attempts(tasks, attempts)
            return found if all(each.again_at or each.over for each in found) else None

        return await self.find(settled, seconds) or await self.next_attempts(tasks, attempts)

    async def first_success(self, since: float, seconds: float) -> float | None:
        """When the first step succeeded after that moment, in seconds after it; None: not within `seconds`."""

        async def succeeded() -> float | None:
            found = await self.value(
                "select extract(epoch from min(ended_at))::double precision from workflow.attempt_history"
                " where outcome = 'succeeded' and ended_at > to_timestamp(%s)",
                since,
            )
            return None if found is None else float(found) - since

        return await self.find(succeeded, seconds)

    # Processes --------------------------------------------------------------------------------------------------------

    async def exit_code(self, process: Process, seconds: float) -> int | None:
        """Wait until a process that is kept down has ended; how it ended, or None."""

        async def ended() -> int | None:
            return process.exit_code

        return await self.find(ended, seconds)

    async def gone(self, pid: int, seconds: float = 10) -> bool:
        """Wait until a process has ended."""
        return bool(await self.find(lambda: _answer(not is_running(pid)), seconds))

    async def leader(self) -> Process | None:
        """The engine that leads."""
        for process, port in zip(self.cluster.engines, self.cluster.engine_ports, strict=True):
            if await self.metric(port, "workflow_engine_leader"):
                return process
        return None

    async def metric(self, port: int, name: str) -> float | None:
        """A metric without labels; None if nobody tells."""
        try:
            text = (await self._http.get(f"http://127.0.0.1:{port}/metrics")).text
        except httpx.TransportError:
            return None
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else None

    async def is_ready(self, port: int) -> bool:
        try:
            return (await self._http.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async def find(self, look: Callable[[], Awaitable[T | None]], seconds: float) -> T | None:
        """Look until something is found, and return it; None after so many seconds. Postgres may be away meanwhile."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(*AWAY):
                if (found := await look()) is not None and found is not False:
                    return found
            if time.monotonic() > deadline:
                return None
            await asyncio.sleep(_LOOK_SECONDS)


async def _answer(found: bool) -> bool:
    return found


def is_running(pid: int) -> bool:
    """Whether a process runs; one that nobody has reaped yet does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
