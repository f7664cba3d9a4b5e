"""The connection pool, and the one place where Postgres errors become ours.

A statement that failed with a conflict (40001, 40P01, 55P03) changed nothing and is sent again after a short random
wait. After a lost connection the outcome is unknown, so only what may be repeated is: reads, and calls whose second
delivery has no effect. What Postgres has no room or time for changed nothing either, and is told: it may be able later.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import class_row
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from workflow_engine.errors import (
    AlreadyStarted,
    ApprovalNotFound,
    BudgetExceeded,
    ConcurrencyLimit,
    Conflict,
    DefinitionDisabled,
    DefinitionNotFound,
    DeliveryNotFound,
    EngineError,
    EnginePaused,
    IdempotencyKeyReused,
    InvalidTransition,
    KeyMissing,
    NotFound,
    PreconditionFailed,
    ScheduleNotFound,
    StoreUnavailable,
    TaskNotFound,
    TaskTypeNotFound,
    TooManySignals,
    WorkerNotFound,
    WorkflowInTheWay,
    WorkflowNotFound,
)
from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger
from workflow_engine.observability.pools import WatchedPool
from workflow_engine.patience import ANSWER_SECONDS, STATEMENT_SECONDS, answered_within

set_json_dumps(orjson.dumps)
set_json_loads(orjson.loads)

_TRIES = 6
_CONFLICTS = frozenset({"40001", "40P01", "55P03"})
# Among them a server that was made a standby (25006): reconnecting finds the one that takes writes. 25P03 and 25P04 end
# sessions.
_AWAY = ("08", "57P", "53300", "25006", "25P03", "25P04")
_OVERTAXED = {
    "53100": "Postgres has no room left on its disk.",
    "53200": "Postgres has no memory left.",
    "57014": "Postgres took too long.",
}
_OVERTAXED_CLASSES = ("53", "55", "57", "58")

# Codes that the SQL functions raise with, in DETAIL (see sql/README.md).
_ERRORS: dict[str, type[EngineError]] = {
    error.code: error
    for error in (
        AlreadyStarted,
        BudgetExceeded,
        ConcurrencyLimit,
        ApprovalNotFound,
        DefinitionDisabled,
        DefinitionNotFound,
        DeliveryNotFound,
        EnginePaused,
        IdempotencyKeyReused,
        InvalidTransition,
        KeyMissing,
        NotFound,
        PreconditionFailed,
        ScheduleNotFound,
        TaskNotFound,
        TaskTypeNotFound,
        TooManySignals,
        WorkerNotFound,
        WorkflowNotFound,
    )
}

NOT_GRANTED = (
    "Let the owner of the schema say what the role of DATABASE_URL is for, `workflow-engine migrate --grant"
    " ROLE=ACCESS`, or use a role that may: docs/operations.md."
)

_UNLIMITED = b"set local statement_timeout = 0"
# Rows are found by walks through indexes. By its costs Postgres may read a whole table and sort it sooner than walk
# through some thousand rows, and it guesses how many there are.
_WALKING = (
    b"select set_config(name, 'off', true)"
    b" from unnest(array['enable_seqscan', 'enable_bitmapscan', 'enable_sort']) name"
)

T = TypeVar("T")
R = TypeVar("R")
Run: TypeAlias = Callable[[psycopg.AsyncConnection[Any]], Awaitable[R]]


def is_conflict(error: psycopg.Error) -> bool:
    """The transaction was rolled back for another's sake; sending it again is right."""
    return error.sqlstate in _CONFLICTS


def is_away(error: psycopg.Error) -> bool:
    """Postgres is stopping, starting, full, a standby or gone; it may come back, on a new connection."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate.startswith(_AWAY)


def is_overtaxed(error: psycopg.Error) -> bool:
    """It lies with Postgres, not with what was sent or the connection: a full disk, a statement out of time."""
    return (error.sqlstate or "").startswith(_OVERTAXED_CLASSES) and not (is_away(error) or is_conflict(error))


def is_unfit(error: psycopg.Error) -> bool:
    """It lies with what was sent, and would be refused again."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.DataError)  # it was not even sent
    return error.sqlstate.startswith(("22", "23", "54"))


def is_overtaken(error: psycopg.Error) -> bool:
    """What the statement names is not as it was: most likely a migration came in between, and a second try finds it."""
    return (error.sqlstate or "").startswith(("42", "0A"))


def is_outdated(error: psycopg.Error) -> bool:
    """A statement that the connection has prepared has other columns since a migration, and would fail for ever."""
    return error.sqlstate == "0A000"


def count_error(error: psycopg.Error) -> None:
    """Count what Postgres refused or did not answer; what our functions raise on purpose is no error."""
    if not (error.sqlstate or "").startswith("WF"):
        metrics.postgres_errors.labels(error.sqlstate or "none").inc()


def as_engine_error(error: psycopg.Error) -> EngineError | None:
    """The error of ours that a SQL function raised, or that Postgres' absence means; None for a bug."""
    if error.sqlstate and error.sqlstate.startswith("WF"):
        kind = _ERRORS.get(error.diag.message_detail or "", Conflict)
        ours = kind(error.diag.message_primary, hint=error.diag.message_hint)
        if isinstance(ours, WorkflowInTheWay):
            ours.workflow_id = error.diag.constraint_name
        return ours
    if is_away(error) or is_conflict(error):
        return StoreUnavailable("Postgres cannot be reached.", hint="Repeat the request.")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return StoreUnavailable(f"Postgres does not allow it: {error.diag.message_primary}.", hint=NOT_GRANTED)
    if is_overtaxed(error):
        detail = _OVERTAXED.get(error.sqlstate or "", "Postgres cannot do this now.")
        return StoreUnavailable(detail, hint="Nothing was changed. Repeat the request later.")
    return None


class _WarmPool(AsyncConnectionPool):
    """Gives the connection that came back last, not the one that has rested longest: its process in Postgres has its
    plans made and its memory in the processor's caches. What is left over rests, and is closed in time."""

    async def _get_ready_connection(self, timeout: float | None) -> psycopg.AsyncConnection[Any] | None:
        self._pool.rotate(1)
        return await super()._get_ready_connection(timeout)


class Pool:
    """A pool of autocommit connections: one statement is one transaction and one round trip.

    Args:
        database_url: libpq URL or keyword string.
        size: Most connections at once.
        name: Shown in `pg_stat_activity.application_name`.
        timeout: Seconds to wait for a connection before Postgres counts as away.
        answer_seconds: The same for the answer to a statement.
        shared: The URL leads through a pooler that gives a connection for a transaction only.
    """

    def __init__(
        self,
        database_url: str,
        *,
        size: int = 10,
        name: str = "workflow-engine",
        timeout: float = 3.0,
        answer_seconds: float = ANSWER_SECONDS,
        shared: bool = False,
    ) -> None:
        self._answer_seconds = answer_seconds
        self._pool = _WarmPool(
            database_url,
            min_size=min(2, size),
            max_size=size,
            open=False,
            timeout=timeout,
            name=name,
            reconnect_timeout=0,  # on failure try again at the next request, not in a loop that gives up
            kwargs=shared_connection_options(name) if shared else connection_options(name),
        )

        self._watched = WatchedPool(self._pool.get_stats)

    async def open(self) -> None:
        """Start connecting in the background; Postgres may still be away."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close()

    async def rows(
        self,
        kind: type[T],
        query: str,
        params: Sequence[Any] | Mapping[str, Any] = (),
        *,
        repeatable: bool = True,
        walks: bool = False,
    ) -> list[T]:
        """Run one statement and return its rows as objects of `kind`, built from columns by name.

        Args:
            walks: It looks through so many rows in the order of an index, whatever Postgres thinks there are.
        """

        async def run(connection: psycopg.AsyncConnection[Any]) -> list[T]:
            cursor = connection.cursor(row_factory=class_row(kind))
            await cursor.execute(query.encode(), params)
            return await cursor.fetchall()

        return await self._run(_in_a_transaction(run, _WALKING) if walks else run, repeatable)

    async def value(
        self,
        query: str,
        params: Sequence[Any] | Mapping[str, Any] = (),
        *,
        repeatable: bool = False,
        unlimited: bool = False,
        walks: bool = False,
    ) -> Any:
        """Run one statement, `unlimited` for however long, and return the first column of its first row, or None.
        `walks` as for `rows`."""

        async def run(connection: psycopg.AsyncConnection[Any]) -> Any:
            row = await (await connection.execute(query.encode(), params)).fetchone()
            return row[0] if row else None

        if unlimited:
            return await self._run(_in_a_transaction(run, _UNLIMITED), repeatable, unlimited=True)
        return await self._run(_in_a_transaction(run, _WALKING) if walks else run, repeatable)

    async def _run(
        self,
        run: Run[R],
        repeatable: bool,
        *,
        unlimited: bool = False,
    ) -> R:
        for again in range(_TRIES):
            try:
                connection = await self._pool.getconn()
                try:
                    if unlimited:
                        return await run(connection)
                    with answered_within(connection, self._answer_seconds):
                        return await run(connection)
                finally:
                    await self._pool.putconn(connection)
            except PoolTimeout as error:
                raise StoreUnavailable("Postgres cannot be reached.", hint="Repeat the request.") from error
            except psycopg.Error as error:
                count_error(error)
                last = again + 1 == _TRIES
                if is_away(error) or is_outdated(error):
                    # The other connections are of the same outage, where asking them may hang, or have the same plans.
                    await self._pool.drain()
                may_pass = is_conflict(error) or (repeatable and is_away(error)) or (again == 0 and is_overtaken(error))
                if may_pass and not last:
                    await asyncio.sleep(random.uniform(0, 0.01 * 2**again))  # noqa: S311
                    continue
                ours = as_engine_error(error)
                if ours is None:
                    raise
                if is_overtaxed(error):
                    get_logger("store").warning(
                        "postgres cannot do it now", error=str(error).strip(), sqlstate=error.sqlstate
                    )
                raise ours from error
        raise AssertionError("unreachable: the last try returns or raises")


def _in_a_transaction(run: Run[R], first: bytes) -> Run[R]:
    """The same in a transaction that begins with a statement."""

    async def run_in_a_transaction(connection: psycopg.AsyncConnection[Any]) -> R:
        async with connection.transaction():
            await connection.execute(first)
            return await run(connection)

    return run_in_a_transaction


def connection_options(name: str) -> dict[str, Any]:
    """Options of every connection: autocommit, and no waiting for ever on a peer that is gone."""
    return {
        "autocommit": True,
        "application_name": name,
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 15_000,
        "target_session_attrs": "read-write",
        "options": f"-c jit=off -c lock_timeout=5s -c statement_timeout={STATEMENT_SECONDS}s"
        " -c idle_in_transaction_session_timeout=15s",
    }


def shared_connection_options(name: str) -> dict[str, Any]:
    """The same through a pooler that gives a connection for a transaction only: nothing of a session is of use.

    Statements are not prepared, as the next one may go to another connection; and a pooler refuses `options`. What
    they say is then to be set for the role (docs/operations.md); who sends a statement counts seconds in any case.
    """
    options = connection_options(name)
    del options["options"]
    return {**options, "prepare_threshold": None}


def as_uuid(text: str) -> UUID | None:
    """The id, or None when `text` is not one: there is no such workflow then."""
    try:
        return UUID(text)
    except ValueError:
        return None
