"""What this engine depends on, looked at side by side, each for at most a second.

Postgres decides whether the engine can serve. All else makes it slower to look at or leaves steps waiting: then it is
`degraded`, and still serves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from workflow_engine.background import end_tasks
from workflow_engine.errors import EngineError
from workflow_engine.mirror.client import Mirror
from workflow_engine.mirror.probe import problem_of
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store

CHECK_SECONDS = 1.0
_FRESH_SECONDS = 1.0
_PATIENCE_SECONDS = 0.1
_STALE_SECONDS = 15.0
_NO_ANSWER = f"No answer within {CHECK_SECONDS:g} s."


class DependencyDown(EngineError):
    """Something this engine depends on does not do its part."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look at a dependency found; `error` says what is wrong, None that nothing is."""

    at: float
    error: str | None
    facts: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"status": "ok" if self.error is None else "down", **self.facts}
        return shown if self.error is None else shown | {"error": self.error}


class Check:
    """One dependency, looked at when asked and not more than once a second.

    Args:
        look: Returns facts worth showing; raises when something is wrong.
        patience: Seconds to wait for a look under way before the finding before it is told, if there is a recent one;
            None: only what was found now is told.
    """

    def __init__(self, look: Callable[[], Awaitable[dict[str, Any]]], *, patience: float | None = None) -> None:
        self._look = look
        self._patience = patience
        self._last: Finding | None = None
        self._looking: asyncio.Task[Finding] | None = None
        self._began = 0.0

    async def finding(self) -> Finding:
        now = time.monotonic()
        last = self._last
        if last is not None and now - last.at < _FRESH_SECONDS:
            return last
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._run())
            self._began = now
        told = last if last is not None and self._patience is not None and now - last.at < _STALE_SECONDS else None
        left = max(self._began + CHECK_SECONDS - now, 0.0)
        # Never until the look is over: one that is called off may hang itself, as that of a silent Postgres does.
        await asyncio.wait([self._looking], timeout=left if told is None else min(left, self._patience or 0.0))
        if self._looking.done():
            return await self._looking
        return told or Finding(now, _NO_ANSWER, {})

    async def close(self) -> None:
        if self._looking is not None:
            await end_tasks(self._looking)

    async def _run(self) -> Finding:
        facts: dict[str, Any] = {}
        error: str | None = None
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                facts = await self._look()
        except TimeoutError:
            error = _NO_ANSWER
        except EngineError as problem:
            error = problem.detail
        except (httpx.HTTPError, OSError) as problem:
            error = str(problem) or type(problem).__name__
        self._last = Finding(time.monotonic(), error, facts)
        return self._last


class Health:
    """The state of this engine and of what it depends on."""

    def __init__(self, settings: Settings, store: Store, mirror: Mirror, version: str) -> None:
        self._settings = settings
        self._store = store
        self._mirror = mirror
        self._version = version
        self._http = httpx.AsyncClient(timeout=CHECK_SECONDS, trust_env=False, follow_redirects=False)
        self._checks = {
            "postgres": Check(self._postgres),
            "redis": Check(self._redis, patience=_PATIENCE_SECONDS),
            "workers": Check(self._workers),
            "agent_mesh": Check(lambda: self._neighbour(settings.agent_mesh_url), patience=_PATIENCE_SECONDS),
            "agent_brain": Check(lambda: self._neighbour(settings.agent_brain_url), patience=_PATIENCE_SECONDS),
        }

    async def report(self) -> tuple[bool, dict[str, Any]]:
        """Whether requests can be served, and everything that was found."""
        found = dict(
            zip(self._checks, await asyncio.gather(*(check.finding() for check in self._checks.values())), strict=True)
        )
        paused = await self._is_paused() if found["postgres"].error is None else None
        if paused is None and found["postgres"].error is None:
            found["postgres"] = Finding(time.monotonic(), _NO_ANSWER, {})
        serving = paused is not None
        return serving, {
            "status": "ok" if all(finding.error is None for finding in found.values()) else "degraded",
            "version": self._version,
            "accepting": paused is False,
            "paused": paused is True,
            "auth": "token" if self._settings.needs_keys else "none",
            "deadlock_detection": self._settings.deadlock_detection,
            "checks": {name: finding.as_json() for name, finding in found.items()},
        }

    async def ready(self) -> str | None:
        """What keeps this engine from serving requests, or None."""
        return (await self._checks["postgres"].finding()).error

    async def close(self) -> None:
        await asyncio.gather(*(check.close() for check in self._checks.values()))
        await self._http.aclose()

    async def _is_paused(self) -> bool | None:
        """None: Postgres did not say. Asked every time: who resumes and then looks must not see how it was before."""
        asking = asyncio.create_task(self._store.engine.is_paused())
        await asyncio.wait([asking], timeout=CHECK_SECONDS)
        if not asking.done():
            asking.cancel()  # and not waited for, as above
            return None
        try:
            return asking.result()
        except EngineError:
            return None

    async def _postgres(self) -> dict[str, Any]:
        if not await self._store.is_migrated():
            raise DependencyDown("The database has no schema yet: run `workflow-engine migrate`.")
        return {}

    async def _redis(self) -> dict[str, Any]:
        if problem := await problem_of(self._mirror):
            raise DependencyDown(problem)
        return {}

    async def _workers(self) -> dict[str, Any]:
        count = await self._store.workers.count_active() if await self._store.is_migrated() else 0
        if not count:
            raise DependencyDown("No worker is active: nothing will be run.")
        return {"active": count}

    async def _neighbour(self, url: str) -> dict[str, Any]:
        answer = await self._http.get(f"{url.rstrip('/')}/health")
        if answer.status_code >= 500:
            raise DependencyDown(f"It answered with {answer.status_code}.")
        return {}
