"""Whether the engines and workers of a stack are ready for work."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import httpx
import psycopg

_TIMEOUT_SECONDS = 2.0


def engine_is_ready(url: str) -> bool:
    """Whether it answers `/readyz` with 200."""
    try:
        return httpx.get(f"{url}/readyz", timeout=_TIMEOUT_SECONDS, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def workers_are_registered(database_url: str, pids: Sequence[int | None]) -> bool:
    """Whether all these processes of this machine are in the table of workers, and with them the task types they serve.

    Until then a workflow that uses such a type would be refused.
    """
    wanted = [pid for pid in pids if pid is not None]
    try:
        with psycopg.connect(database_url, connect_timeout=2) as connection:
            row = connection.execute(
                "SELECT count(DISTINCT pid) FROM workflow.workers"
                " WHERE status = 'active' AND host = %s AND pid = ANY(%s)",
                [socket.gethostname(), wanted],
            ).fetchone()
    except psycopg.OperationalError:
        return False
    return row is not None and row[0] == len(wanted)
