"""A client of the engines that knows of each call whether it was done, was not, or may have been."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

_TIMEOUT_SECONDS = 15.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
_AGAIN = frozenset({408, 429, 503, 504})  # says itself that it may be tried again
_KEPT = 20  # of the answers that there should not be


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine said."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300


class Client:
    """Calls whichever engine is at hand.

    Attributes:
        statuses: How often which status was the answer; 0: there was none, so that nobody knows what was done.
        faults: Answers that there must not be: a 500, another 5xx that nobody knows, a 503 without `Retry-After`.
    """

    def __init__(self, urls: Sequence[str], seed: int) -> None:
        self._urls = urls
        self._random = random.Random(f"{seed}/client")
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=20)
        self._http = httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, limits=limits, trust_env=False)
        self.statuses: Counter[int] = Counter()
        self.faults: list[str] = []
        self.fault_count = 0

    async def call(
        self, method: str, path: str, *, engine: int | None = None, timeout: float = _TIMEOUT_SECONDS, **request: Any
    ) -> Answer | None:
        """One request to one engine; None: nobody knows what became of it."""
        url = self._urls[self._random.randrange(len(self._urls)) if engine is None else engine]
        try:
            response = await self._http.request(method, f"{url}{path}", timeout=timeout, **request)
        except httpx.TransportError:
            self.statuses[0] += 1
            return None
        self.statuses[response.status_code] += 1
        self._judge(method, path, response)
        try:
            body = response.json()
        except ValueError:
            body = response.text
        return Answer(response.status_code, body, response.headers)

    async def insist(self, method: str, path: str, *, until: float, **request: Any) -> tuple[Answer | None, bool]:
        """Repeat a request that may be repeated until an engine says yes or no.

        Args:
            method, path, request: As in `call`.
            until: When to give up, by the monotonic clock.

        Returns:
            The last answer, or None if nobody ever gave one; and whether some try may have been done unheard.
        """
        pause, unheard = _FIRST_PAUSE, False
        while True:
            answer = await self.call(method, path, **request)
            if answer is not None and answer.status not in _AGAIN and answer.status < 500:
                return answer, unheard
            unheard = unheard or answer is None or answer.status != 503
            if time.monotonic() > until:
                return None, unheard
            await asyncio.sleep(pause * self._random.uniform(0.5, 1))
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def close(self) -> None:
        await self._http.aclose()

    def _judge(self, method: str, path: str, response: httpx.Response) -> None:
        status = response.status_code
        if status < 500 or (status == 503 and "Retry-After" in response.headers):
            return
        self.fault_count += 1
        if len(self.faults) < _KEPT:
            self.faults.append(f"{status} to {method} {path}: {response.text[:500]}")
