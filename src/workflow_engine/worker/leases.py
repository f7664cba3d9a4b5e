"""The heartbeat: a thread that keeps a worker's leases alive.

The lease protocol. A claim gives a lease of `WORKFLOW_LEASE_SECONDS` by the database clock and a token that proves
it. The worker renews all it holds in one statement every `WORKFLOW_HEARTBEAT_SECONDS`, at most half a lease, so that
one lost heartbeat costs nothing. A worker that dies or hangs stops renewing; the leader's sweep then records the
attempt as lost and gives the task to another. Whatever the late worker sends afterwards carries the old token and is
refused.

It is a thread with a connection of its own because an event loop blocked by a CPU-bound handler must not lose its
leases: the work goes on, only slowly. The answer of a heartbeat names the leases that are gone; their handlers are
stopped.
"""

from __future__ import annotations

import resource
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from structlog.typing import FilteringBoundLogger

from workflow_engine.patience import answered_within_in_thread
from workflow_engine.store.pool import connection_options
from workflow_engine.worker.liveness import Liveness

_RETRY_SECONDS = 1.0
_LATE_SECONDS = 30.0  # beyond a heartbeat and a lease: the thread has ended, or hangs where nothing bounds it


class LeaseKeeper:
    """Renews leases until stopped, also through outages of Postgres.

    Args:
        database_url: The engine's database.
        worker_id: Whose heartbeat it is.
        lease_seconds: Length of a renewed lease.
        heartbeat_seconds: Time between heartbeats.
        held: Gives lease token -> task id of what the worker runs; called from the thread.
        on_lost: Called from the thread with the lease tokens that are gone.
        on_retired: Called from the thread when the database no longer knows the worker.
        liveness: Told that the thread goes round, also when Postgres is away.
        log: Told about failures.
    """

    def __init__(
        self,
        database_url: str,
        *,
        worker_id: int,
        lease_seconds: float,
        heartbeat_seconds: float,
        held: Callable[[], Mapping[str, int]],
        on_lost: Callable[[list[str]], object],
        on_retired: Callable[[], object],
        liveness: Liveness,
        log: FilteringBoundLogger,
    ) -> None:
        self._database_url = database_url
        self._worker_id = worker_id
        self._lease_seconds = lease_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._held = held
        self._on_lost = on_lost
        self._on_retired = on_retired
        self._liveness = liveness
        self._log = log
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Beat for the first time, and from then on."""
        self._wake.set()
        self._thread.start()

    def poke(self) -> None:
        """Beat now: some lease was probably revoked."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread and wait for it; leases that are still held run out by themselves."""
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        connection: psycopg.Connection[Any] | None = None
        wait = self._heartbeat_seconds
        while True:
            self._liveness.beat("heartbeat", self._heartbeat_seconds + self._lease_seconds + _LATE_SECONDS)
            self._wake.wait(wait)
            self._wake.clear()
            if self._stopping:
                break
            try:
                if connection is None or connection.closed:
                    connection = psycopg.connect(self._database_url, **connection_options("workflow-engine heartbeat"))
                # In time to renew on another connection before the leases run out.
                with answered_within_in_thread(connection, self._lease_seconds / 2):
                    self._beat(connection)
                wait = self._heartbeat_seconds
            except Exception as error:  # a bug of ours, too, must not end the heartbeat
                self._log.warning("heartbeat failed", error=str(error).strip(), retry_in=_RETRY_SECONDS)
                if connection is not None:
                    connection.close()
                connection, wait = None, min(_RETRY_SECONDS, self._heartbeat_seconds)
        self._liveness.forget("heartbeat")
        if connection is not None:
            connection.close()

    def _beat(self, connection: psycopg.Connection[Any]) -> None:
        held = dict(self._held())
        tokens = list(held)
        row = connection.execute(
            "select workflow.heartbeat(%s, %s, %s::uuid[], %s, %s)",
            [self._worker_id, list(held.values()), tokens, self._lease_seconds, resident_bytes()],
        ).fetchone()
        assert row is not None
        if row[0] is None:
            self._on_retired()
        elif row[0]:
            lost = set(row[0])
            self._on_lost([token for token, task_id in held.items() if task_id in lost])


def resident_bytes() -> int:
    """Memory this process holds now; where only the peak is known, that."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
