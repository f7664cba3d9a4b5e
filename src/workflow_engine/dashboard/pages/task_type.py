"""/admin/task-types/{name}: one kind of work: who said what counts, which steps use it, what is slow and what fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workflow_engine.access import Scope
from workflow_engine.dashboard.page import Page
from workflow_engine.dashboard.pages.task_types import (
    FAILING,
    PARAMETERS,
    choices,
    kept_of,
    read_slow,
    read_stats,
    read_values,
    row_of,
)
from workflow_engine.dashboard.visit import Visit
from workflow_engine.definition.retries import DEFAULT_RETRY_POLICY
from workflow_engine.records import TaskFailures, TaskType, TypedStep

_SLOW_SHOWN = 50
_STEPS_SHOWN = 50
_STEPS_SECONDS = 10.0  # for which they are shown as they were read


@dataclass(frozen=True, slots=True)
class Layer:
    """Who may say how long an attempt takes and how often it is tried.

    Attributes:
        who: In the order in which they count.
        timeout: What they say, in seconds; None: nothing.
        tries: The same.
        note: What is to be known of it.
        field: Its values are those that operators set here.
    """

    who: str
    timeout: float | None
    tries: int | None
    note: str
    field: bool = False


async def read(visit: Visit) -> Mapping[str, Any]:
    store = visit.store
    known = await store.task_types.get(str(visit.request.path_params["task_type"]))
    fault, values, window, threshold = read_values(visit, PARAMETERS)
    stats = await read_stats(visit, window, values["window"])
    slow = await read_slow(
        visit, window, values["window"], threshold, values["threshold"], type=known.name, most=_SLOW_SHOWN + 1
    )
    workers = [worker for worker in await store.workers.list() if known.name in worker.task_types]
    steps = await visit.glance.kept(
        f"steps of {known.name}",
        _STEPS_SECONDS,
        lambda: store.task_types.steps(known.name, limit=_STEPS_SHOWN + 1),
    )
    row = row_of(visit, known, stats["by_type"].get(known.name, {}), len(slow), workers)
    failures = await _failures(visit, known.name, window, values["window"]) if row.failed else []
    return {
        "fault": fault,
        "status": 200 if fault is None else 422,
        "row": row,
        "known": known,
        "stats": stats,
        "slow": slow[:_SLOW_SHOWN],
        "slow_count": len(slow),
        "most_slow": _SLOW_SHOWN + 1,
        "failures": failures,
        "names": await store.overview.names([failure.workflow_id for failure in failures]),
        "layers": _layers(known, steps, visit.settings.task_timeout),
        "in_force": {name: said["from"] for name, said in row.effective.items()},
        "steps": steps[:_STEPS_SHOWN],
        "more_steps": len(steps) > _STEPS_SHOWN,
        "workers": workers,
        "changes": await store.task_types.changes(known.name),
        "failing": FAILING,
        **choices(visit, window, threshold),
    }


async def _failures(visit: Visit, type: str, window: str, seconds: float) -> Sequence[TaskFailures]:
    async def look() -> Sequence[TaskFailures]:
        return await visit.store.task_durations.failures(type, window=seconds)

    return await kept_of(visit, f"failures of {type}", window, look)


def _layers(known: TaskType, steps: Sequence[TypedStep], default_timeout: float) -> Mapping[str, Layer]:
    own = sum(1 for step in steps if step.timeout is not None or step.max_attempts is not None)
    if not steps:
        says = "No definition has such a step now."
    elif own == 1:
        says = "One of the steps below sets its own."
    else:
        says = f"{own or 'None'} of the steps below set their own."
    return {
        "retry": Layer("An operator's retry of a task", None, None, "It may set a timeout for that one task."),
        "step": Layer("The step", None, None, says),
        "type": Layer("The task type", known.timeout, known.max_attempts, "Set here by operators.", field=True),
        "handler": Layer(
            "The handler", known.handler_timeout, known.handler_max_attempts, "What the code of the workers asks for."
        ),
        "default": Layer(
            "The default", default_timeout, DEFAULT_RETRY_POLICY.max_attempts, "WORKFLOW_TASK_TIMEOUT, and three tries."
        ),
    }


PAGE = Page("/admin/task-types/{task_type}", "task_type.html", read, Scope.ENGINE_READ)
