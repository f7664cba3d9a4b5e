"""The databases that `database` steps may use, by name: small pools, opened when first asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, TypeAlias

import psycopg
from psycopg.pq import TransactionStatus

from workflow_engine.handlers.inputs import invalid
from workflow_engine.observability.logs import get_logger
from workflow_engine.settings import DatabaseConnection

ENGINE = "engine"
"""The connection to the engine's own database, as a role that may complete tasks and nothing else of the engine."""

FindEngine: TypeAlias = Callable[[], Awaitable[str | None]]
Connection: TypeAlias = psycopg.AsyncConnection[Any]
Judge: TypeAlias = Callable[[Connection, str], Awaitable[None]]

_CONNECT_TIMEOUT = 10  # seconds
# Of the role that logged in: what a statement is allowed by SET ROLE, RESET ROLE undoes.
_TOO_MUCH = """
select case
    when exists (select from pg_roles r where pg_has_role(session_user, r.oid, 'member') and (r.rolsuper or r.rolname in
        ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')))
    then 'run programs or read files on the server'
    when exists (select from pg_class c where c.relnamespace = to_regnamespace('workflow') and c.relname = 'tasks'
        and has_table_privilege(session_user, c.oid, 'update'))
    then 'change the tables of the engine'
end"""

_log = get_logger("connections")


class Connections:
    """Hands out connections, one user at a time each.

    Not `psycopg_pool`: that repeats a failed connect in the background and tells the step only that time is up. Here a
    step learns at once why, and the engine's own retries decide what happens next.

    Use it as an async context manager; leaving it closes what is idle. Belongs to one event loop.

    Args:
        named: As the operator set them.
        engine: Tells the DSN of the connection `engine` when it is first needed; None when there is none.
        strict: Refuse a connection whose role may do what no step should; else there is a warning.
    """

    def __init__(
        self, named: Mapping[str, DatabaseConnection], *, engine: FindEngine | None = None, strict: bool = False
    ) -> None:
        self._named = dict(named)
        self._engine = engine
        self._strict = strict
        self._pools: dict[str, _Pool] = {}

    async def __aenter__(self) -> Connections:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.close()

    @asynccontextmanager
    async def lend(self, name: str) -> AsyncIterator[Connection]:
        """A connection outside a transaction, with autocommit on and the session as new.

        One that comes back broken or inside a transaction is closed; nothing a step set stays for the next one.

        Raises:
            TaskError: `validation` when there is no such connection.
            psycopg.OperationalError: The database cannot be reached, or refuses us.
        """
        pool = self._pools.get(name)
        if pool is None:
            # Asked before the pool is stored: finding the engine's DSN may take a while, and fail.
            connection = await self._find(name)
            judge = self._judge if name in self._named else None
            pool = self._pools.setdefault(name, _Pool(connection, name, judge))
        async with pool.lend() as connected:
            yield connected

    def bounds(self, name: str) -> DatabaseConnection | None:
        """How far steps may go on a connection, where the operator has said so."""
        return self._named.get(name)

    async def _find(self, name: str) -> DatabaseConnection:
        if (named := self._named.get(name)) is not None:
            return named
        if name != ENGINE or self._engine is None:
            known = sorted({*self._named, *([ENGINE] if self._engine else [])})
            raise invalid(f"There is no connection {name!r}. Known: {', '.join(known) or 'none'}.")
        dsn = await self._engine()
        if dsn is None:
            raise invalid("The connection `engine` does not exist: `migrate` was not allowed to create its role.")
        return DatabaseConnection(url=dsn)

    async def _judge(self, connection: Connection, name: str) -> None:
        """Look at the role of a connection: what it may do, anybody may who writes a definition.

        Raises:
            TaskError: `validation`: it may do too much.
        """
        row = await (await connection.execute(_TOO_MUCH)).fetchone()
        if row is None or row[0] is None:
            return
        if self._strict:
            raise invalid(
                f"The role of the connection {name!r} may {row[0]}: give WORKFLOW_CONNECTIONS one that may do only "
                "what its steps need."
            )
        _log.warning("connection may do too much", connection=name, may=row[0], hint="It is refused in production.")


class _Pool:
    def __init__(self, database: DatabaseConnection, name: str, judge: Judge | None) -> None:
        self._url = database.url
        self._name = name
        self._judge = judge
        self._free = asyncio.Semaphore(database.size)
        self._idle: list[Connection] = []
        self._closed = False

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Connection]:
        async with self._free:
            connection = await self._take()
            try:
                yield connection
            finally:
                await self._give_back(connection)

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    async def _take(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            try:
                await connection.execute("")
            except psycopg.Error:  # it died while it lay here, for instance with the server
                await connection.close()
            else:
                return connection
        connection = await psycopg.AsyncConnection.connect(
            self._url,
            autocommit=True,
            prepare_threshold=None,  # DISCARD ALL would drop them
            connect_timeout=_CONNECT_TIMEOUT,
            application_name=f"workflow-engine step ({self._name})",
        )
        if self._judge is not None:
            try:
                await self._judge(connection, self._name)
            except BaseException:
                await connection.close()
                raise
            self._judge = None  # once is enough: they are all alike
        return connection

    async def _give_back(self, connection: Connection) -> None:
        if not self._closed and connection.info.transaction_status == TransactionStatus.IDLE:
            try:
                await connection.execute("DISCARD ALL")  # settings, temporary tables, session locks
            except psycopg.Error:
                pass  # closed below
            else:
                self._idle.append(connection)
                return
        await connection.close()
