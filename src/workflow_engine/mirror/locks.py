"""`workflow:lock:<workflow_id>`: shows who holds a workflow, and lets an operator's DEL be heard.

The locks themselves are rows in Postgres. A key stands for the locks that a workflow holds; it is renewed while they
are held and runs out with the leases of those who hold them. A key that is gone although nothing but a DEL can explain
it is a forced release. What else can explain it must be told apart: that it ran out, that Redis lost its memory (the
leader's epoch is gone, or was made anew), was restarted or replaced by a replica that knew less (another `run_id`), or
evicted keys to make room.

While the API operates on a workflow that holds nothing, the same key shows that.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from workflow_engine.background import end_tasks
from workflow_engine.errors import RedisUnavailable
from workflow_engine.mirror.client import Mirror
from workflow_engine.mirror.pending import EPOCH, MEMORY
from workflow_engine.records import HeldLocks

if TYPE_CHECKING:
    from redis.asyncio import Redis

LONGEST_SECONDS = 30.0
"""What a key lives at most without being renewed."""
_TIMEOUT_SECONDS = 0.25
_SECONDS_PER_KEY = 0.0005
_MARGIN_SECONDS = 0.5  # of the two clocks that measure a key's life
_OPERATION_TOKEN = "token=op-"  # noqa: S105 nothing secret: it tells whose key it is
_FACTS = ("run_id", "evicted_keys")

# KEYS key; ARGV the value we know, its new value, milliseconds. Returns 1, 0 when it is gone, or what stands there.
_RENEW = """
local found = redis.pcall('GET', KEYS[1])
if type(found) == 'table' then return 'something of another type' end
if not found then return 0 end
if found ~= ARGV[1] then return found end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""

# KEYS key; ARGV the value that is ours.
_DELETE = """
local found = redis.pcall('GET', KEYS[1])
if type(found) == 'string' and found == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


def lock_key(workflow_id: UUID) -> str:
    return f"workflow:lock:{workflow_id}"


@dataclass(frozen=True, slots=True)
class _Continuity:
    """What stays the same for as long as Redis forgets nothing by itself."""

    memory: str
    facts: tuple[str, ...]


@dataclass(slots=True)
class _Written:
    token: str
    value: str
    until: float  # by our clock: it cannot have run out before
    continuity: _Continuity | None  # None: Redis forgot something while it was written


class LockKeys:
    """The keys of held locks, as the leader writes them. A new leader begins with none: what it misses is no release.

    Args:
        mirror: Where.
        epoch: Of the leader on whose behalf.
    """

    def __init__(self, mirror: Mirror, epoch: int) -> None:
        self._mirror = mirror
        self._epoch = str(epoch)
        self._written: dict[UUID, _Written] = {}

    async def sweep(self, held: Sequence[HeldLocks]) -> list[UUID]:
        """Write the keys of these workflows, renew them, and remove those of all others that are ours.

        Returns:
            The workflows whose keys an operator removed. They are not written again in this sweep.

        Raises:
            RedisUnavailable: Redis is away or refuses.
        """
        lives = {locks.workflow_id: (locks, _life(locks)) for locks in held}
        wanted = {workflow: locks for workflow, (locks, life) in lives.items() if life > 0}
        for workflow in self._written.keys() & (lives.keys() - wanted.keys()):
            del self._written[workflow]  # its holder's lease is over: so is the key in a moment
        left = self._written.keys() - wanted.keys()
        if not wanted and not left:
            return []
        plans = {
            workflow: self._plan(locks, lives[workflow][1]) for workflow, locks in wanted.items()
        }  # before anything is sent, so that no key outlives what we believe
        # When this fails, what was written before stays known: an operator's DEL of just then must be heard. Whether
        # Redis forgot something by itself meanwhile is seen by the next sweep that gets through.
        answers, continuity = await self._mirror.call(
            "locks",
            lambda redis: self._send(redis, plans, left),
            timeout=_TIMEOUT_SECONDS + _SECONDS_PER_KEY * (len(plans) + len(left)),
        )
        for workflow in left:
            del self._written[workflow]
        if continuity is None:
            self._written = {}
            return []
        released = []
        now = time.monotonic()
        for workflow, plan in plans.items():
            before = self._written.get(workflow)
            answer = answers[workflow]
            if before is None or answer == 1:
                plan.continuity = continuity
                self._written[workflow] = plan
                continue
            del self._written[workflow]
            gone = answer == 0 or _OPERATION_TOKEN in str(answer)
            if gone and before.continuity == continuity and now < before.until - _MARGIN_SECONDS:
                released.append(workflow)
        return released

    def _plan(self, locks: HeldLocks, life: float) -> _Written:
        before = self._written.get(locks.workflow_id)
        token = before.token if before else f"{self._epoch}-{uuid.uuid4().hex}"
        return _Written(token, _value(locks, token), time.monotonic() + life, None)

    async def _send(
        self, redis: Redis, plans: dict[UUID, _Written], left: set[UUID]
    ) -> tuple[dict[UUID, Any], _Continuity | None]:
        """All in one round trip. The memory is read before and after: it must not have changed in between."""
        started = time.monotonic()
        pipeline = redis.pipeline(transaction=False)
        pipeline.get(MEMORY)
        for workflow in left:
            pipeline.eval(_DELETE, 1, lock_key(workflow), self._written[workflow].value)
        for workflow, plan in plans.items():
            milliseconds = max(1, int((plan.until - started) * 1000))
            before = self._written.get(workflow)
            if before is None:
                pipeline.set(lock_key(workflow), plan.value, px=milliseconds)
            else:
                pipeline.eval(_RENEW, 1, lock_key(workflow), before.value, plan.value, milliseconds)
        pipeline.get(EPOCH)
        pipeline.get(MEMORY)
        pipeline.info("server")
        pipeline.info("stats")
        first, *middle, epoch, last, server, stats = await pipeline.execute(raise_on_error=False)
        for answer in (first, *middle, epoch, last):
            if isinstance(answer, Exception):
                raise answer
        answers = dict(zip(plans, middle[len(left) :], strict=True))
        if epoch != self._epoch or first is None or first != last:
            return answers, None
        if isinstance(server, Exception) or isinstance(stats, Exception):
            return answers, None  # not allowed to know: then no missing key can be told for a release
        facts = {**server, **stats}
        return answers, _Continuity(first, tuple(str(facts.get(name)) for name in _FACTS))


class OperationLocks:
    """Shows in Redis that a workflow is being operated on. It decides nothing, and nobody waits for it."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._shown: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def during(self, workflow_id: UUID, what: str) -> AsyncIterator[None]:
        """Show it while the block runs, unless a key is there already."""
        over = asyncio.Event()
        showing = asyncio.create_task(self._show(workflow_id, what, over))
        self._shown.add(showing)
        showing.add_done_callback(self._shown.discard)
        try:
            yield
        finally:
            over.set()

    async def close(self) -> None:
        """Let what is shown go."""
        await end_tasks(*self._shown)

    async def _show(self, workflow_id: UUID, what: str, over: asyncio.Event) -> None:
        key = lock_key(workflow_id)
        value = _readable("api", datetime.now(UTC), what, f"op-{uuid.uuid4().hex}")
        life = int(LONGEST_SECONDS * 1000)
        try:
            if await self._mirror.call("operation", lambda redis: redis.set(key, value, px=life, nx=True)):
                await over.wait()
                await self._mirror.call("operation", lambda redis: _evaluated(redis.eval(_DELETE, 1, key, value)))
        except RedisUnavailable:
            return


async def _evaluated(answer: Awaitable[Any] | Any) -> Any:
    return await answer


def _life(locks: HeldLocks) -> float:
    return LONGEST_SECONDS if locks.seconds is None else min(LONGEST_SECONDS, locks.seconds)


def _value(locks: HeldLocks, token: str) -> str:
    return _readable(locks.holder, locks.acquired_at, locks.what, token)


def _readable(holder: str, since: datetime, what: str, token: str) -> str:
    quoted = what.replace("\\", "\\\\").replace('"', '\\"')
    at = since.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f'holder={holder} acquired_at={at} what="{quoted}" token={token}'
