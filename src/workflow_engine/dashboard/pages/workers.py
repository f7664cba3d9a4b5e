"""/admin/workers: who runs tasks, who died, what it held and what became of that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflow_engine.access import Scope
from workflow_engine.dashboard.actions import Action
from workflow_engine.dashboard.left import became, left_by
from workflow_engine.dashboard.page import Group, Page
from workflow_engine.dashboard.pages.overview import RECOVER
from workflow_engine.dashboard.visit import Visit
from workflow_engine.records import Worker

_MOST_TASKS = 50  # of one worker
_MOST_NAMED = 500  # of those that run


async def read(visit: Visit) -> Mapping[str, Any]:
    # Both lists are of one moment each: a worker may be in neither or both, for as long as a look takes.
    dead, alive = await visit.store.workers.list(dead=True), await visit.store.workers.list()
    left = await left_by(visit.store, dead)
    running = await visit.store.workers.tasks([worker.id for worker in alive], limit=_MOST_NAMED)
    orphans = await visit.store.orphans.list(grace_seconds=visit.settings.lease_seconds)
    active = [worker for worker in alive if worker.status == "active"]
    return {
        "dead": [(worker, left[worker.id]) for worker in reversed(dead)],
        "alive": [(worker, worker.current_tasks[:_MOST_TASKS], len(worker.current_tasks)) for worker in alive],
        "named": {task.task_id: task for tasks in running.values() for task in tasks},
        "became": became,
        "most_tasks": _MOST_TASKS,
        "steer": {worker.id: _drain(worker) if worker.drained_at is None else _undrain(worker) for worker in alive},
        "active": len(active),
        "draining": len(alive) - len(active),
        "slots": sum(worker.concurrency for worker in active),
        "busy": sum(len(worker.current_tasks) for worker in active),
        "versions": sorted({worker.version for worker in alive}),
        "orphans": len({task.workflow_id for task in orphans}),
        "recover": RECOVER,
    }


def _drain(worker: Worker) -> Action:
    return Action(
        "Drain",
        f"/workers/{worker.id}/drain",
        Scope.ENGINE_CONTROL,
        f"Draining: {worker.name} claims no more tasks.",
        ask=f"{worker.name} claims no more tasks until somebody undrains it. Tasks that it is running may finish,"
        " and the process stays up. If the process is restarted, it claims tasks again.",
    )


def _undrain(worker: Worker) -> Action:
    return Action(
        "Undrain",
        f"/workers/{worker.id}/undrain",
        Scope.ENGINE_CONTROL,
        f"Undrained: {worker.name} claims tasks again.",
    )


PAGE = Page("/admin/workers", "workers.html", read, Scope.ENGINE_READ, "Workers", "d", Group.CAPACITY)
