"""The log of a workflow as it is written, across engines that stop, restart or are away for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from workflow_engine.client.http import Client
from workflow_engine.errors import ServerRefused, ServerUnreachable

PATIENCE_SECONDS = 300.0
"""How long nobody may answer, once somebody has."""

_AGAIN_SECONDS = 1.0
_BUSY = frozenset({429, 503})  # it answers, but not now


def follow_log(client: Client, path: str, say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """The lines of a log until its workflow has ended, each once, wherever a stream breaks off.

    Args:
        path: Of the stream of events.
        say: Is told when nobody answers, and when somebody does again.

    Raises:
        ServerUnreachable: Nobody answered at first, or for `PATIENCE_SECONDS` later.
        ServerRefused: It answers with an error.
    """
    place = complete = given = 0  # the event that was told last, the one before it, and so many lines of the last
    answered: float | None = None
    away = False
    while True:
        known = given
        try:
            for event in client.events(path, after=complete):
                answered = time.monotonic()
                if away:
                    say("An engine answers again; the log goes on.")
                    away = False
                if event is None:
                    continue
                if event.name == "end":
                    if event.data["status"] == "deleted":
                        say("The workflow was deleted.")
                    return
                if event.id != place:
                    complete, place, given, known = place, event.id, 0, 0
                elif known:
                    known -= 1
                    continue
                given += 1
                yield event.data
        except (ServerUnreachable, ServerRefused) as error:
            if answered is None or time.monotonic() - answered > PATIENCE_SECONDS:
                raise
            if isinstance(error, ServerRefused) and error.status not in _BUSY:
                raise
            if not away:
                say(f"{error.detail}; trying again for {PATIENCE_SECONDS / 60:.0f} minutes.")
                away = True
        time.sleep(_AGAIN_SECONDS)
