"""Draining: pause the intake and wait until nothing runs, so that everything can be restarted.

It replaces a shell loop over `GET /workflows/running`, which takes an engine that does not answer for one on which
nothing runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from workflow_engine.client.http import Client
from workflow_engine.errors import ServerRefused, ServerUnreachable

LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 15.0
"""How long an engine that answered before may be away, as while it is restarted."""

_REMINDER_SECONDS = 10.0
MOST_EXPLAINED = 10
_WAITS_FOR_ANOTHER = "waiting_dependency"  # which has a row of its own


@dataclass(frozen=True, slots=True)
class Left:
    """A workflow that still ran when the time was over, and what its tasks wait for or do, in words."""

    id: str
    name: str
    reasons: Sequence[str]


class Drain:
    """One drain of an engine.

    Args:
        client: Of the engine, or of what balances between several.
        pause: Stop the intake first. Without that, what others start meanwhile is waited for as well.
        say: Is given one line of progress at a time.
    """

    def __init__(self, client: Client, *, pause: bool, say: Callable[[str], None]) -> None:
        self._client = client
        self._pause = pause
        self._say = say

    def run(self, timeout: float) -> list[Left]:
        """Wait until no workflow runs, for at most `timeout` seconds.

        Workflows that wait for the world outside, or are paused themselves, are not waited for.

        Returns:
            What still runs; empty when the engine is drained.

        Raises:
            ServerUnreachable: It did not answer at first, was away for longer than `PATIENCE_SECONDS`, or when the time
                was over: what runs is then not known.
            ServerRefused: It answers with an error.
        """
        answers = self._pause  # who has answered may then be away for a while
        if self._pause:
            running = int(self._client.post("/pause")["running"])
            self._say(f"Paused: nothing new is accepted or started. {counted(running)} running.")
        begun = answered = told = time.monotonic()
        running_now: list[dict[str, Any]] | None = None  # not known yet
        while running_now is None or running_now:
            before = running_now
            try:
                running_now = self._client.get("/workflows/running")
                answers, answered = True, time.monotonic()
            except ServerUnreachable as error:
                now = time.monotonic()
                if not answers or now - answered > PATIENCE_SECONDS or now - begun >= timeout:
                    raise
                self._say(f"{error.detail}; trying again.")
            now = time.monotonic()
            if (
                running_now is not None
                and before is not None
                and (len(running_now) != len(before) or now - told > _REMINDER_SECONDS)
            ):
                self._say(f"{counted(len(running_now))} running; waited {now - begun:.0f} s.")
                told = now
            if running_now and now - begun >= timeout:
                return [self._left(workflow, number) for number, workflow in enumerate(running_now)]
            if running_now is None or running_now:
                time.sleep(max(0.0, min(LOOK_SECONDS, begun + timeout - now)))
        return []

    def _left(self, workflow: dict[str, Any], number: int) -> Left:
        reasons: list[str] = []
        if number < MOST_EXPLAINED:
            with suppress(ServerRefused, ServerUnreachable):  # it may have ended by now
                for task in self._client.get(f"/workflows/{workflow['id']}/why"):
                    if task["reason"] != _WAITS_FOR_ANOTHER:
                        reasons.append(f"{task['step']}: {task['explanation']}")
        return Left(str(workflow["id"]), str(workflow["name"]), reasons)


def counted(count: int) -> str:
    """`1 workflow is`, `3 workflows are`."""
    return "1 workflow is" if count == 1 else f"{count or 'No'} workflows are"


def whether_paused(client: Client) -> str:
    """One sentence for whoever has to know whether to resume."""
    try:
        paused = client.get("/health")["paused"]
    except (ServerRefused, ServerUnreachable):
        return "Whether the engine is paused is not known: it does not answer."
    if paused:
        return f"The engine is paused; to accept workflows again: curl -X POST {client.url('/resume')}"
    return "The engine is not paused."
