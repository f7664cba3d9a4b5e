"""/admin/locks: who holds a lock or a limit, since when, and who waits for it; taken away where it must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workflow_engine.access import Scope
from workflow_engine.dashboard.actions import Action
from workflow_engine.dashboard.page import Group, Page
from workflow_engine.dashboard.visit import Visit
from workflow_engine.records import LockInUse
from workflow_engine.store.locks import MOST

_CIRCLES_SECONDS = 2.0
_SHOWN = 3  # holders, and who waits, before the rest is folded
_MOST = 100  # rows
_MOST_COUNTED = 10_000  # tasks in line
_KINDS: Sequence[tuple[str, str | None]] = (
    ("All", None),
    ("Locks", "lock"),
    ("Limits", "limit"),
    ("Waited for", "waited"),
)


async def read(visit: Visit) -> Mapping[str, Any]:
    prefix, kind = visit.asked("key").strip().replace("\0", ""), visit.asked("kind") or None
    everything: Sequence[LockInUse] = await visit.store.locks.list(
        kind=kind if kind in ("lock", "limit") else None, prefix=prefix, waited=kind == "waited", limit=MOST + 1
    )
    found, cut = [*everything[:MOST]], len(everything) > MOST
    circles = await visit.kept("deadlocks", _CIRCLES_SECONDS, visit.store.locks.deadlocks)
    # Those that most wait for first: they are why anybody looks here.
    found.sort(key=lambda lock: (-lock.waiting, lock.holders[0].since.timestamp() if lock.holders else 0, lock.key))
    shown = found[:_MOST]
    places = [place for lock in shown for place in (*lock.holders, *lock.waiters)]
    waits = [wait for circle in circles for wait in circle.waits]
    ids = {*(place.workflow_id for place in places), *(id_ for wait in waits for id_ in (wait.waiter, wait.holder))}
    return {
        "locks": shown,
        "found": len(found),
        "cut": cut,
        "filtered": bool(prefix or kind),
        "names": await visit.store.overview.names(sorted(ids)),
        "shown": _SHOWN,
        "circles": circles,
        "choices": [(label, visit.here(kind=value), kind == value) for label, value in _KINDS],
        "held": visit.gauges.locks_held,
        "waiting": await visit.store.locks.count_waiting(most=_MOST_COUNTED),
        "most_counted": _MOST_COUNTED,
        "release": {
            str(place.workflow_id): release(str(place.workflow_id))
            for lock in shown
            if lock.kind == "lock"
            for place in lock.holders
        },
    }


def release(workflow_id: str) -> Action:
    return Action(
        "Release",
        f"/workflows/{workflow_id}/release-locks",
        Scope.WORKFLOWS_CONTROL,
        "Released. Running tasks that lost their lease and are tried again: {tasks}.",
        ask=f"All locks of workflow …{workflow_id[-12:]} are taken away from it and go to whoever waits for them. Its"
        " tasks that run under one of them are stopped and tried again later. What they have already done outside"
        " is not undone, and for a moment they may still be running beside whoever gets the lock.",
        destroys=True,
    )


PAGE = Page("/admin/locks", "locks.html", read, Scope.WORKFLOWS_READ, "Locks", "l", Group.CAPACITY)
