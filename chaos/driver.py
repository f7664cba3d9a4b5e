"""Users who start cases at a steady rate, do to them what the case says, and remember what they were told."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from chaos.bad_requests import BAD_REQUESTS
from chaos.cases import Case, Cases
from chaos.client import Client

_MOST_AT_ONCE = 150  # cases that are being started or played
_TWICE, _WAITED_FOR, _BAD = 0.05, 0.08, 0.05  # shares of starts
_PATIENCE_SECONDS = 180.0  # beyond the longest outage


@dataclass(slots=True)
class Played:
    """A case and what its user was told.

    Attributes:
        workflow: The id in the 2xx; None: never accepted.
        refused: The answer that refused it.
        unheard: Whether some try of the start had no answer.
        cancelled: Whether a cancel was accepted; None: nobody knows.
    """

    number: int
    case: Case
    workflow: str | None = None
    refused: str | None = None
    unheard: bool = False
    cancelled: bool | None = False
    confused: str | None = None  # two answers that contradict each other


class Driver:
    """Plays cases.

    Args:
        client: Speaks to the engines.
        cases: What there is to play.
        seed: Of the run.
        rate: Starts per second.

    Attributes:
        played: All cases that were begun.
        bad: Bad requests by how they were answered: `refused`, `away`.
        believed: Bad requests that were not refused as they must be.
        trouble: What went wrong with the users themselves.
    """

    def __init__(self, client: Client, cases: Cases, seed: int, rate: float) -> None:
        self._client = client
        self.cases = cases
        self._seed = seed
        self._rate = rate
        self._random = random.Random(f"{seed}/driver")
        self._tasks: set[asyncio.Task[None]] = set()
        self._number = 0
        self._stopped = asyncio.Event()
        self.played: list[Played] = []
        self.bad: Counter[str] = Counter()
        self.believed: list[str] = []
        self.trouble: list[str] = []

    async def run(self) -> None:
        """Start cases until `stop`."""
        while not self._stopped.is_set():
            if len(self._tasks) < _MOST_AT_ONCE:
                self._begin()
            pause = self._random.expovariate(self._rate)
            try:
                await asyncio.wait_for(self._stopped.wait(), pause)
            except TimeoutError:
                continue

    def stop(self) -> None:
        self._stopped.set()

    async def finish(self) -> None:
        """Wait until every user has an answer, or has given up."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def start(self, document: dict[str, Any], key: str) -> str:
        """Start a workflow for the harness itself."""
        answer, _ = await self._client.insist(
            "POST", "/api/v1/workflows", until=_patience(), json=document, headers={"Idempotency-Key": key}
        )
        assert answer is not None, "no engine answered"
        assert answer.accepted, answer.body
        return str(answer.body["id"])

    def _begin(self) -> None:
        self._number += 1
        self._spawn(self._play(self._number))
        if self._random.random() < _BAD:
            self._spawn(self._misbehave(self._random.randrange(len(BAD_REQUESTS))))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.trouble.append(f"a user failed: {type(error).__name__}: {error}")

    async def _play(self, number: int) -> None:
        played = Played(number, self.cases.case(number))
        self.played.append(played)
        chance = random.Random(f"{self._seed}/play/{number}")
        copies = 2 if chance.random() < _TWICE else 1
        path = "/api/v1/workflows?wait=5s" if chance.random() < _WAITED_FOR else "/api/v1/workflows"
        await asyncio.gather(*(self._start(played, path) for _ in range(copies)))
        if played.workflow is None or not played.case.play:
            return
        await asyncio.sleep(played.case.delay)
        await {
            "cancel": self._cancel,
            "pause": self._pause,
            "signal": self._signal,
            "approve": self._approve,
        }[played.case.play](played, f"/api/v1/workflows/{played.workflow}")

    async def _start(self, played: Played, path: str) -> None:
        request = {
            "json": {**played.case.document, "labels": {"case": str(played.number)}},
            "headers": {"Idempotency-Key": f"case-{played.number}"},
        }
        answer, unheard = await self._client.insist("POST", path, until=_patience(), **request)
        played.unheard = played.unheard or unheard
        if answer is None:
            return
        if not answer.accepted:
            played.refused = f"{answer.status}: {answer.body}"[:500]
        elif played.workflow not in (None, answer.body["id"]):
            played.confused = f"one key, two workflows: {played.workflow} and {answer.body['id']}"
        else:
            played.workflow = answer.body["id"]

    async def _cancel(self, played: Played, path: str) -> None:
        played.cancelled = None
        answer, unheard = await self._client.insist("POST", f"{path}/cancel", until=_patience())
        if answer is not None and answer.accepted:
            played.cancelled = True
        elif answer is not None and answer.status == 409 and not unheard:
            played.cancelled = False

    async def _pause(self, played: Played, path: str) -> None:
        await self._client.insist("POST", f"{path}/pause", until=_patience())
        await asyncio.sleep(0.5)
        await self._client.insist("POST", f"{path}/resume", until=_patience())

    async def _signal(self, played: Played, path: str) -> None:
        amount = played.case.document["input"]["amount"]
        request = {"json": {"amount": amount}, "headers": {"Idempotency-Key": f"signal-{played.number}"}}
        answer, _ = await self._client.insist("POST", f"{path}/signal/go", until=_patience(), **request)
        if answer is not None and not answer.accepted:
            played.confused = f"a signal was refused: {answer.status} {answer.body}"[:500]

    async def _approve(self, played: Played, path: str) -> None:
        amount = played.case.document["input"]["amount"]
        until = _patience()
        while time.monotonic() < until:
            asked, _ = await self._client.insist("GET", f"/api/v1/approvals?workflow_id={played.workflow}", until=until)
            if asked is not None and asked.accepted and asked.body:
                given = {"outcome": "approved", "data": {"amount": amount}, "by": "chaos"}
                await self._client.insist("POST", f"/api/v1/approvals/{asked.body[0]['id']}", until=until, json=given)
                return
            await asyncio.sleep(0.5)

    async def _misbehave(self, which: int) -> None:
        bad = BAD_REQUESTS[which]
        answer = await self._client.call(bad.method, bad.path, content=bad.content, headers=dict(bad.headers))
        if answer is None or answer.status == 503:
            self.bad["away"] += 1
        elif answer.status in bad.statuses:
            self.bad["refused"] += 1
        else:
            self.believed.append(f"{bad.name}: {answer.status} {answer.body}"[:500])


def _patience() -> float:
    return time.monotonic() + _PATIENCE_SECONDS
