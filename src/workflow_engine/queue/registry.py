"""procrastinate's registry of workers, which its own tools read."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

import procrastinate
import psycopg
from procrastinate import exceptions
from psycopg_pool import AsyncNullConnectionPool

from workflow_engine.errors import StoreUnavailable
from workflow_engine.patience import ANSWER_SECONDS, hang_up


async def _limit_life(connection: psycopg.AsyncConnection[Any]) -> None:
    """Hang up on whoever has not answered: none of these connections is used for longer than a statement."""
    asyncio.get_running_loop().call_later(ANSWER_SECONDS, hang_up, connection)


class WorkerRegistry:
    """Registers this process as a procrastinate worker; used as an async context manager.

    A worker's heartbeat there is written by `workflow.heartbeat`, in the statement that renews the leases.

    Args:
        database_url: The database that holds procrastinate's tables.
        options: Options of its connections.
    """

    def __init__(self, database_url: str, options: dict[str, Any]) -> None:
        # Used twice in the life of a worker, so no connection is kept in between.
        connector = procrastinate.PsycopgConnector(
            conninfo=database_url,
            pool_factory=AsyncNullConnectionPool,
            min_size=0,
            max_size=1,
            timeout=5,
            configure=_limit_life,
            kwargs=options,
        )
        self._app = procrastinate.App(connector=connector)

    async def __aenter__(self) -> Self:
        await self._app.open_async()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._app.close_async()

    async def register(self) -> int:
        """Add this process; returns its id there.

        Raises:
            StoreUnavailable: Postgres cannot be reached.
        """
        try:
            return await self._app.job_manager.register_worker()
        except exceptions.ConnectorException as error:
            raise StoreUnavailable(str(error.__cause__ or error).strip()) from error

    async def unregister(self, worker_id: int) -> None:
        """Remove this process.

        Raises:
            StoreUnavailable: Postgres cannot be reached; its row stays and does no harm.
        """
        try:
            await self._app.job_manager.unregister_worker(worker_id)
        except exceptions.ConnectorException as error:
            raise StoreUnavailable(str(error)) from error
