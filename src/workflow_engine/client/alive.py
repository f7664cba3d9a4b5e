"""Whether the engine or the worker on this machine is alive: the health check of the container that it is alone in."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from contextlib import closing
from http import HTTPStatus

_SECONDS = 3.0
_ANYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 where it listens, and so how to get there


def look(host: str, ports: Mapping[str, int]) -> tuple[bool, list[str]]:
    """Ask `/livez` of whoever listens on these ports.

    Args:
        host: The address they listen on, as in the setting `HOST`.
        ports: By the name of what may listen there: `engine`, `worker`.

    Returns:
        Whether somebody is there and everybody who is there is well; and a line about each.
    """
    lines, well, there = [], True, False
    for name, port in ports.items():
        try:
            problem = _problem(_ANYWHERE.get(host, host), port)
        except ConnectionRefusedError:
            continue
        there = True
        well = well and problem is None
        lines.append(f"{name} on port {port}: {problem or 'alive'}")
    if not there:
        asked = " and ".join(f"{port} ({name})" for name, port in ports.items())
        lines.append(f"Nobody listens on port {asked}.")
    return there and well, lines


def _problem(host: str, port: int) -> str | None:
    # Not httpx: this runs every few seconds, and importing that would take longer than all else.
    with closing(http.client.HTTPConnection(host, port, timeout=_SECONDS)) as connection:
        try:
            connection.request("GET", "/livez")
            answer = connection.getresponse()
            said = answer.read(1000).decode(errors="replace").strip()
        except ConnectionRefusedError:
            raise
        except (OSError, http.client.HTTPException) as error:
            return f"no answer: {error or type(error).__name__}"
    return None if answer.status == HTTPStatus.OK else f"{answer.status} {said}"
