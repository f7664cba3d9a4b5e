"""The engine as a whole: whether it is paused."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from workflow_engine.errors import EnginePaused
from workflow_engine.records import EngineState
from workflow_engine.store.pool import Pool


class Engine:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def is_paused(self) -> bool:
        """Whether it accepts and starts nothing new."""
        paused: bool = await self._pool.value("select workflow.is_paused()", repeatable=True)
        return paused

    async def check_accepting(self) -> None:
        """Refuse a request before anything is written for it; `workflows.start` decides in the end.

        Raises:
            EnginePaused: It accepts nothing new.
        """
        if await self.is_paused():
            raise EnginePaused(hint="Try again later, or resume it: POST /api/v1/resume.")

    async def count_pending(self, *, most: int) -> int:
        """How many tasks are pending that are not held; not counted further than `most`."""
        count: int = await self._pool.value("select workflow.count_pending(%s)", [most], repeatable=True)
        return count

    async def pause(
        self, *, seconds: float | None = None, by: str | None = None, reason: str | None = None
    ) -> EngineState:
        """Accept and start nothing new until resumed, or for some seconds; running workflows go on.

        Args:
            by: Who asks for it.
            reason: Why; both are shown to whoever finds it paused.
        """
        answer = await self._pool.value(
            "select workflow.pause(make_interval(secs => %s::double precision), %s, %s)",
            [seconds, by, reason],
            repeatable=True,
        )
        return _state(answer)

    async def resume(self) -> EngineState:
        """End a pause; without effect when there is none."""
        return _state(await self._pool.value("select workflow.resume()", repeatable=True))


def _state(answer: dict[str, Any]) -> EngineState:
    since, until = (datetime.fromisoformat(text) if (text := answer[key]) else None for key in ("since", "until"))
    return EngineState(answer["paused"], since, until, answer["running"], answer["by"], answer["reason"])
