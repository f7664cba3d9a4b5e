"""Tells who follows that something has happened: all followers of an engine share two cheap questions twice a second.

What is told stays as it is: events get their numbers before they are committed, so only those are told below which none
can appear any more. A transaction that stays open for longer than `_PATIENCE_SECONDS` is no longer waited for; what it
then brings is missed by who has read on.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from workflow_engine.background import end_tasks
from workflow_engine.errors import StoreUnavailable, WorkflowNotFound
from workflow_engine.observability.logs import get_logger
from workflow_engine.records import EndOfEvents, LogEvent, Standing
from workflow_engine.states import TERMINAL_WORKFLOW_STATUSES
from workflow_engine.store.store import Store
from workflow_engine.store.workflows import workflow_key, workflow_not_found

PAGE = 1000
AWAY_SECONDS = 2.0
"""Between two looks while Postgres does not answer."""

_LOOK_SECONDS = 0.5
_EVERY_SECONDS = 10.0  # a workflow may end without an event: it is deleted
_PATIENCE_SECONDS = 5.0
_SOON_SECONDS = 0.05  # while somebody waits for the very first look
_log = get_logger("api")


@dataclass(frozen=True, slots=True)
class Told:
    """Some events of a workflow; `ended` is its status once there will be no more, `deleted` if it is gone."""

    events: list[LogEvent]
    ended: str | None = None


class _Final:
    """Up to which number all events are there that will ever be."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, frozenset[str], float]] = deque()
        self.upto: int | None = None

    def went_on(self, end: EndOfEvents) -> None:
        now = time.monotonic()
        if self.upto is not None and end.top < self.upto:  # a server that was set back
            self.upto = None
            self._marks.clear()
        if not self._marks or self._marks[-1][0] < end.top:
            self._marks.append((end.top, end.open, now))
        while self._marks:
            top, open_, at = self._marks[0]
            if open_ & end.open and now - at < _PATIENCE_SECONDS:
                return
            self.upto = top
            self._marks.popleft()


@dataclass(eq=False, slots=True)
class _Follower:
    workflow: UUID | None  # None: whatever happens
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    standing: Standing | None = None
    looked: bool = False


class Following:
    """Looks for as long as somebody follows."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._final = _Final()
        self._followers: set[_Follower] = set()
        self._looking: asyncio.Task[None] | None = None
        self._come = asyncio.Event()  # somebody new

    async def everything(self, after: int) -> AsyncGenerator[int, None]:
        """The number of the newest event whenever there is a newer one, twice a second at most.

        Args:
            after: The one that is known.
        """
        with self._follow(None) as follower:
            while True:
                if self._final.upto is not None and self._final.upto > after:
                    after = self._final.upto
                    yield after
                await follower.moved.wait()
                follower.moved.clear()

    async def workflow(self, workflow_id: str, after: int) -> AsyncGenerator[Told, None]:
        """What happens to one workflow, from after the event `after` until it has ended; outlasts outages of Postgres.

        Raises:
            WorkflowNotFound: There is no such workflow.
        """
        key = workflow_key(workflow_id)
        if not await self._store.workflows.statuses([key]):
            raise workflow_not_found(workflow_id)
        return self._told(key, after)

    async def _told(self, workflow_id: UUID, after: int) -> AsyncGenerator[Told, None]:
        history = self._store.history
        with self._follow(workflow_id) as follower:
            while True:
                await follower.moved.wait()
                follower.moved.clear()
                ended = _ended(follower.standing)
                while True:
                    # Of one that has ended all is there; else no further than where nothing can appear any more.
                    until = None if ended else self._final.upto
                    try:
                        events = await history.log(str(workflow_id), after=after, until=until, limit=PAGE)
                    except WorkflowNotFound:
                        ended, events = "deleted", []
                    except StoreUnavailable:
                        await asyncio.sleep(AWAY_SECONDS)
                        continue
                    if events:
                        after = events[-1].seq
                        yield Told(events)
                    if len(events) < PAGE:
                        break
                if ended:
                    yield Told([], ended)
                    return

    @contextmanager
    def _follow(self, workflow: UUID | None) -> Iterator[_Follower]:
        follower = _Follower(workflow)
        self._followers.add(follower)
        self._come.set()
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            yield follower
        finally:
            self._followers.discard(follower)  # the look ends by itself when nobody is left

    async def close(self) -> None:
        """Look no more; who still follows hears nothing."""
        if self._looking is not None:
            await end_tasks(self._looking)

    async def _look(self) -> None:
        looked = float("-inf")
        while self._followers:
            self._come.clear()
            try:
                before = self._final.upto
                self._final.went_on(await self._store.history.end())
                if self._final.upto is None:
                    await asyncio.sleep(_SOON_SECONDS)
                    continue
                moved = self._final.upto != before
                due = time.monotonic() - looked > _EVERY_SECONDS
                if due:
                    looked = time.monotonic()
                await self._tell(self._final.upto, moved=moved, all_=moved or due)
                pause = _LOOK_SECONDS
            except StoreUnavailable:
                pause = AWAY_SECONDS
            except Exception:  # a bug, or what Postgres says in a migration: who follows is not to notice
                _log.exception("looking for what happened failed")
                pause = AWAY_SECONDS
            try:
                async with asyncio.timeout(pause):
                    await self._come.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(_SOON_SECONDS)  # those who come together share a look

    async def _tell(self, upto: int, *, moved: bool, all_: bool) -> None:
        for follower in self._followers:
            if follower.workflow is None and moved:
                follower.moved.set()
        asked = [f for f in self._followers if f.workflow is not None and (all_ or not f.looked)]
        if not asked:
            return
        ids = sorted({f.workflow for f in asked if f.workflow is not None})
        found = await self._store.history.standings(ids, until=upto)
        for follower in asked:
            standing = None if follower.workflow is None else found.get(follower.workflow)
            if not follower.looked or standing != follower.standing:
                follower.looked, follower.standing = True, standing
                follower.moved.set()


def _ended(standing: Standing | None) -> str | None:
    if standing is None:
        return "deleted"
    return standing.status if standing.status in TERMINAL_WORKFLOW_STATUSES else None
