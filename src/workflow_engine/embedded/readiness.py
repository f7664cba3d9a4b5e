"""Whether the engines and workers of a stack are ready for work."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

import psycopg

_TIMEOUT_SECONDS = 2.0


def engine_is_ready(port: int) -> bool:
    """Whether the engine on that port of this machine answers `/readyz` with 200."""
    # Not httpx: importing it would take longer than all the waiting here.
    connection = HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


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
