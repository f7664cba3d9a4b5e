"""/admin/queues/{queue}: one queue: what is ready, what runs, how it was, who serves it, and what Redis shows of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from workflow_engine.access import Scope
from workflow_engine.api import parameters
from workflow_engine.api.parameters import read_parameters
from workflow_engine.dashboard.charts import chart
from workflow_engine.dashboard.page import Page
from workflow_engine.dashboard.pages.overview import QUEUE_LONG
from workflow_engine.dashboard.pages.queues import PER_REPLICA
from workflow_engine.dashboard.visit import Visit
from workflow_engine.errors import InputInvalid, NotFound, RedisUnavailable
from workflow_engine.mirror.pending import length_of
from workflow_engine.records import QueuedTask, QueueGauges, QueueMoment, Worker

WINDOWS = (("1h", "1 hour"), ("6h", "6 hours"), ("24h", "1 day"))

_DEFAULT = "default"  # what steps use that name none: there always is one
_SHOWN = 30  # tasks
_SECONDS = {"1h": 5.0, "6h": 15.0, "24h": 60.0}  # for which what was read of a window is shown
_WINDOW = parameters.window("1h")


async def read(visit: Visit) -> Mapping[str, Any]:
    name = str(visit.request.path_params["queue"])
    fault: InputInvalid | None = None
    seconds, window = float(_WINDOW.default), "1h"
    try:
        seconds = min(read_parameters(visit.request, [_WINDOW])["window"], 86_400.0)
        window = visit.asked("window", "1h")  # what was read is kept for others by it: never with another time
    except InputInvalid as error:
        fault = error
    workers = [worker for worker in await visit.store.workers.list() if name in worker.queues]
    found = next((queue for queue in visit.gauges.queues if queue.queue == name), None)
    past = await _history(visit, name, window, seconds)
    if name != _DEFAULT and found is None and not workers and not any(moment.pending for moment in past):
        known = ", ".join(queue.queue for queue in visit.gauges.queues) or "none"
        raise NotFound(f"There is no queue {name[:64]!r}.", hint=f"Queues with tasks or workers: {known}.")
    gauges = found or QueueGauges(name, 0, 0, 0, 0, 0.0, 0)
    ready = await visit.store.queues.ready(name, limit=_SHOWN)
    now, span = datetime.now(UTC), timedelta(seconds=seconds)
    return {
        "fault": fault,
        "status": 200 if fault is None else 422,
        "queue": gauges,
        "long": QUEUE_LONG,
        "depth": chart([(at.at, at.pending) for at in past], span, now, limit=QUEUE_LONG),
        "waits": chart([(at.at, at.oldest_seconds) for at in past], span, now),
        "windows": [
            (title, visit.here(window=None if value == "1h" else value), window == value) for value, title in WINDOWS
        ],
        "length": await _length(visit, name),
        "ready": ready,
        "running": await visit.store.queues.running(name, limit=_SHOWN),
        "unable": _unable(ready, workers),
        "workers": workers,
        "replicas": math.ceil(gauges.pending / PER_REPLICA),
    }


async def _history(visit: Visit, name: str, window: str, seconds: float) -> Sequence[QueueMoment]:
    async def look() -> Sequence[QueueMoment]:
        return await visit.store.queues.history(name, seconds=seconds)

    # Names of queues that nobody uses are without end, and nothing is kept of them.
    if window not in _SECONDS or all(queue.queue != name for queue in visit.gauges.queues):
        return await look()
    return await visit.glance.kept(f"queue {name} {window}", _SECONDS[window], look)


async def _length(visit: Visit, name: str) -> int | None:
    """What an autoscaler that asks Redis sees; None: Redis does not answer."""
    try:
        return await length_of(visit.mirror, name)
    except RedisUnavailable:
        return None


def _unable(ready: Sequence[QueuedTask], workers: Sequence[Worker]) -> Sequence[str]:
    """Task types of what is ready that no active worker of the queue can run."""
    able = {type_ for worker in workers if worker.status == "active" for type_ in worker.task_types}
    return sorted({task.type for task in ready} - able) if any(worker.status == "active" for worker in workers) else []


PAGE = Page("/admin/queues/{queue}", "queue.html", read, Scope.ENGINE_READ)
