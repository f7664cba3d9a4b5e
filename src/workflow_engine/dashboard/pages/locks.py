"""/admin/locks: who holds a lock or a limit, since when, and who waits for it; taken away where it must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workflow_engine.access import Scope
from workflow_engine.dashboard.actions import Action
from workflow_engine.dashboard.page import Group, Page
from workflow_engine.dashboard.visit import Visit
from workflow_engine.records import LockInUse

_CIRCLES_SECONDS = 2.0
_SHOWN = 3  # holders, and who waits, before the rest is folded
_MOST = 100  # rows
_KINDS: Sequence[tuple[str, str | None]] = (
    ("All", None),
    ("Locks", "lock"),
    ("Limits", "limit"),
    ("With a line", "waited"),
)


async def read(visit: Visit) -> Mapping[str, Any]:
    everything: Sequence[LockInUse] = await visit.store.locks.list()
    circles = await visit.glance.kept("deadlocks", _CIRCLES_SECONDS, visit.store.locks.deadlocks)
    sought, kind = visit.asked("key").strip(), visit.asked("kind") or None
    found = [
        lock
        for lock in everything
        if sought.lower() in lock.key.lower()
        and (kind is None or lock.kind == kind or (kind == "waited" and lock.waiting))
    ]
    # Those that most wait for first: they are why anybody looks here.
    found.sort(key=lambda lock: (-lock.waiting, lock.holders[0].since.timestamp() if lock.holders else 0, lock.key))
    shown = found[:_MOST]
    places = [place for lock in shown for place in (*lock.holders, *lock.waiters)]
    waits = [wait for circle in circles for wait in circle.waits]
    ids = {*(place.workflow_id for place in places), *(id_ for wait in waits for id_ in (wait.waiter, wait.holder))}
    return {
        "locks": shown,
        "more": len(found) - len(shown),
        "names": await visit.store.overview.names(sorted(ids)),
        "any": bool(everything),
        "shown": _SHOWN,
        "circles": circles,
        "choices": [(label, visit.here(kind=value), kind == value) for label, value in _KINDS],
        "held": sum(lock.holding for lock in everything if lock.kind == "lock"),
        "waiting": sum(lock.waiting for lock in everything),
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
        "Released; {tasks} tasks lost their lease and are tried again.",
        ask=f"All locks of the workflow …{workflow_id[-12:]} are taken away, and others get them at once. Tasks of it"
        " that run under one lose their lease: what they still do is void, but what they did outside is done, and what"
        " they are at may go on beside others for a moment.",
        destroys=True,
    )


PAGE = Page("/admin/locks", "locks.html", read, Scope.WORKFLOWS_READ, "Locks", "l", Group.CAPACITY)
