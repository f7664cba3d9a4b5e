"""Trials, as the API runs them: apart from the requests it serves, and few at once.

Expressions are otherwise evaluated on workers and never in the process of the API (docs/architecture.md): one that
takes its time would keep all requests waiting. A trial is made without workers, so it has to evaluate them here: in a
thread with an event loop of its own, while each expression is bounded in time and memory as on a worker, and the trial
as a whole in time and in attempts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from workflow_engine.settings import Settings
from workflow_engine.testing.reading import read_trial
from workflow_engine.testing.result import TrialResult
from workflow_engine.testing.trial import Bounds, run_trial

_AT_ONCE = 2


class Trials:
    """Runs trials, two at once; others wait."""

    def __init__(self, settings: Settings) -> None:
        self._database_url = settings.session_database_url
        self._bounds = Bounds(timeout=settings.task_timeout, payload_bytes=settings.max_payload_bytes)
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def run(self, document: Mapping[str, Any], given: Mapping[str, Any], *, pointer: str) -> TrialResult:
        """Try a definition; see `read_trial` and `run_trial`.

        Raises:
            DefinitionInvalid: A definition is refused.
            InputInvalid: Something that is given makes no sense.
            EnginePaused: The engine accepts nothing new.
            StoreUnavailable: Postgres cannot be reached.
        """
        async with self._free:
            return await asyncio.to_thread(self._run, document, given, pointer)

    def _run(self, document: Mapping[str, Any], given: Mapping[str, Any], pointer: str) -> TrialResult:
        trial = read_trial(document, given, pointer=pointer)
        return asyncio.run(run_trial(self._database_url, trial, self._bounds))
