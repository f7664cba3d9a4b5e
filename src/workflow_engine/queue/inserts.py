"""Hearing that jobs were inserted, in any queue, by who looks at all of them."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
from procrastinate.manager import get_channel_for_queues
from psycopg import sql

from workflow_engine.patience import PING_SECONDS, answered_within

_PATIENCE_SECONDS = 1.0  # after a lost connection


class Inserts:
    """Tells that jobs were inserted. It listens only while someone waits: on a busy system hearing of each commit would
    cost more than looking again does.

    Args:
        database_url: Where; sessions, since LISTEN does not pass a pooler in transaction mode.
        options: Options of the connection.
    """

    def __init__(self, database_url: str, options: dict[str, Any]) -> None:
        self._database_url = database_url
        self._options = options
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._listening = False

    async def begin(self) -> bool:
        """Listen from now on; whether it did before, so that nothing was missed."""
        if self._listening and self._connection and not self._connection.closed:
            return True
        try:
            if self._connection is None or self._connection.closed:
                self._connection = await psycopg.AsyncConnection.connect(self._database_url, **self._options)
            with answered_within(self._connection, PING_SECONDS):
                for name in get_channel_for_queues(None):
                    await self._connection.execute(sql.SQL("listen {}").format(sql.Identifier(name)))
            self._listening = True
        except psycopg.Error:
            await self._away()
        return False

    async def heard(self, timeout: float) -> None:
        """Wait until a job was inserted since `begin`, at most `timeout` seconds; then listen no longer if one was."""
        connection = self._connection
        if not self._listening or connection is None:
            await asyncio.sleep(timeout)
            return
        try:
            async for _ in connection.notifies(timeout=timeout, stop_after=1):
                self._listening = False
            if not self._listening:
                with answered_within(connection, PING_SECONDS):
                    await connection.execute("unlisten *")
        except psycopg.Error:
            await self._away()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        self._listening = False
        if connection is not None:
            await connection.close()

    async def _away(self) -> None:
        await self.close()
        await asyncio.sleep(_PATIENCE_SECONDS)
