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

ENGINE = "engine"
"""The connection to the engine's own database, as a role that may complete tasks and nothing else of the engine."""

FindEngine: TypeAlias = Callable[[], Awaitable[str | None]]
Connection: TypeAlias = psycopg.AsyncConnection[Any]

_CONNECT_TIMEOUT = 10  # seconds


class Connections:
    """Hands out connections, one user at a time each.

    Not `psycopg_pool`: that repeats a failed connect in the background and tells the step only that time is up. Here a
    step learns at once why, and the engine's own retries decide what happens next.

    Use it as an async context manager; leaving it closes what is idle. Belongs to one event loop.

    Args:
        dsns: Name to libpq URL, as the operator set them.
        engine: Tells the DSN of the connection `engine` when it is first needed; None when there is none.
        size: Most connections of one name at once; further steps wait for one.
    """

    def __init__(self, dsns: Mapping[str, str], *, engine: FindEngine | None = None, size: int = 4) -> None:
        self._dsns = dict(dsns)
        self._engine = engine
        self._size = size
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
            pool = self._pools.setdefault(name, _Pool(await self._dsn(name), name, self._size))
        async with pool.lend() as connection:
            yield connection

    async def _dsn(self, name: str) -> str:
        dsn = self._dsns.get(name)
        if dsn is None and name == ENGINE and self._engine is not None:
            dsn = await self._engine()
            if dsn is None:
                raise invalid("The connection `engine` does not exist: `migrate` was not allowed to create its role.")
        if dsn is None:
            known = sorted({*self._dsns, *([ENGINE] if self._engine else [])})
            raise invalid(f"There is no connection {name!r}. Known: {', '.join(known) or 'none'}.")
        return dsn


class _Pool:
    def __init__(self, dsn: str, name: str, size: int) -> None:
        self._dsn = dsn
        self._name = name
        self._free = asyncio.Semaphore(size)
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
        return await psycopg.AsyncConnection.connect(
            self._dsn,
            autocommit=True,
            prepare_threshold=None,  # DISCARD ALL would drop them
            connect_timeout=_CONNECT_TIMEOUT,
            application_name=f"workflow-engine step ({self._name})",
        )

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
