"""The connection that carries a worker's turns, through conflicts, bad outputs and outages of any length.

A turn may be sent twice: after a lost connection nobody knows whether it was committed. Its completions are safe to
repeat (the fence recognises those it recorded), and claims whose answer was lost are handed back before the next turn.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import orjson
import psycopg
from psycopg.rows import tuple_row
from structlog.typing import FilteringBoundLogger

from workflow_engine.errors import TaskError
from workflow_engine.observability import metrics
from workflow_engine.patience import answered_within
from workflow_engine.records import Completion, Turn
from workflow_engine.states import AttemptOutcome
from workflow_engine.store.pool import connection_options, count_error, is_away, is_conflict, is_overtaxed, is_unfit
from workflow_engine.store.turns import TURN, completions_document, read_turn, text_array

_TURN = TURN.encode()
_TURN_SECONDS = 20.0  # a turn waits 5 s for a lock at most; who has not heard by then takes the connection for dead
_REFUSALS = 5  # for a reason that need not lie with what was sent; then it is taken to


class Turns:
    """Sends turns of one worker, one at a time.

    Args:
        database_url: The engine's database.
        lease_seconds: Length of a new lease.
        held: Gives the task ids this worker knows it holds; all others it has by the database's account are released
            after a reconnect.
        log: Told about outages.
    """

    def __init__(
        self,
        database_url: str,
        *,
        lease_seconds: float,
        held: Callable[[], Collection[int]],
        log: FilteringBoundLogger,
    ) -> None:
        self._database_url = database_url
        self._lease_seconds = lease_seconds
        self._held = held
        self._log = log
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._connected_before = False

    @property
    def backend_pid(self) -> int:
        """The connection's process in Postgres: the sender of the notifications our own turns cause. 0 when away."""
        return self._connection.info.backend_pid if self._connection else 0

    async def close(self) -> None:
        if self._connection:
            await self._connection.close()
            self._connection = None

    async def take(
        self,
        worker_id: int,
        completions: Sequence[Completion],
        *,
        queues: Sequence[str],
        types: Sequence[str],
        want: int,
    ) -> Turn:
        """Deliver completions and claim up to `want` tasks; waits out an outage of Postgres.

        Returns:
            Claims, and the positions of completions that were refused as stale. When Postgres rejects the batch because
            of one completion, each is sent alone and the unfit one becomes a failure of its task. Where even that is
            rejected, its lease runs out.
        """
        parameters = [text_array(tuple(queues)), text_array(tuple(types)), want, self._lease_seconds]
        try:
            return await self._send(worker_id, completions, parameters)
        except (psycopg.Error, orjson.JSONEncodeError) as error:
            if len(completions) == 1 and want == 0:
                return await self._fail_unfit(worker_id, completions[0], error, parameters)
        # One of them is unfit, or the claim failed: send each alone, then claim.
        stale: list[int] = []
        for position, completion in enumerate(completions):
            alone = await self.take(worker_id, [completion], queues=queues, types=types, want=0)
            stale += [position] if alone.stale else []
        return replace(await self._send(worker_id, [], parameters), stale=stale)

    async def _fail_unfit(self, worker_id: int, refused: Completion, error: Exception, parameters: list[Any]) -> Turn:
        which = {"workflow_id": refused.workflow_id, "task_id": refused.task_id}
        self._log.error("result refused by postgres", **which, error=str(error).strip())
        try:
            return await self._send(worker_id, [_unfit(refused, error)], parameters)
        except psycopg.Error:  # it is not the result, and this worker has others to deliver
            self._log.exception("nothing can be recorded of an attempt; its lease runs out", **which)
            return await self._send(worker_id, [], parameters)

    async def _send(self, worker_id: int, completions: Sequence[Completion], parameters: list[Any]) -> Turn:
        """One turn, again after conflicts and reconnects until it succeeds.

        Raises:
            psycopg.Error: Postgres refuses the completions; sending them again would not help.
            orjson.JSONEncodeError: One of them is not JSON, which is a bug of ours.
        """
        document = completions_document(completions)
        delay, refusals = 0.05, 0
        while True:
            try:
                connection = await self._connect(worker_id)
                with answered_within(connection, _TURN_SECONDS):
                    row = await (await connection.execute(_TURN, [worker_id, document, *parameters])).fetchone()
                assert row is not None
                return read_turn(row[0])
            except psycopg.Error as error:
                count_error(error)
                if is_conflict(error):
                    metrics.turns.labels("conflict").inc()
                elif is_away(error):
                    metrics.turns.labels("away").inc()
                    self._log.warning("postgres unavailable", error=str(error).strip(), retry_in=round(delay, 2))
                    await self.close()
                elif completions and not is_overtaxed(error) and (is_unfit(error) or refusals >= _REFUSALS):
                    raise
                else:
                    refusals += 1
                    metrics.turns.labels("error").inc()
                    self._log.warning(
                        "turn failed", error=str(error).strip(), sqlstate=error.sqlstate, retry_in=round(delay, 2)
                    )
            await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 spreads workers out; nothing secret
            delay = min(delay * 2, 5.0)

    async def _connect(self, worker_id: int) -> psycopg.AsyncConnection[Any]:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        self._connection = await psycopg.AsyncConnection.connect(
            self._database_url,
            prepare_threshold=0,
            row_factory=tuple_row,
            **connection_options("workflow-engine worker"),
        )
        if self._connected_before:
            with answered_within(self._connection):
                row = await (
                    await self._connection.execute(
                        "select workflow.release_forgotten(%s, %s)", [worker_id, list(self._held())]
                    )
                ).fetchone()
            self._log.info("reconnected to postgres", released=row[0] if row else 0)
        self._connected_before = True
        return self._connection


def _unfit(completion: Completion, error: Exception) -> Completion:
    """Postgres refuses what the task wants stored: that is the task's failure, not the batch's."""
    said = error.diag.message_primary if isinstance(error, psycopg.Error) else error
    reason = TaskError("serialization_error", f"Postgres refuses the result: {said}", retryable=False)
    return Completion(
        completion.task_id,
        completion.attempt,
        completion.lease_token,
        AttemptOutcome.FAILED,
        error=reason.as_json(completion.attempt),
        workflow_id=completion.workflow_id,
    )
