"""/admin/queues: what waits and what runs, by queue."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from workflow_engine.access import Scope
from workflow_engine.dashboard.charts import chart
from workflow_engine.dashboard.page import PAUSE, Group, Page
from workflow_engine.dashboard.pages.overview import LOAD_SECONDS, QUEUE_LONG
from workflow_engine.dashboard.visit import Visit

PER_REPLICA = 10
"""Pending tasks: `listLength` of the ScaledObject."""


async def read(visit: Visit) -> Mapping[str, Any]:
    gauges = visit.gauges
    load = await visit.glance.kept("load", LOAD_SECONDS, visit.store.overview.load)
    now, hour = datetime.now(UTC), timedelta(hours=1)
    pending = sum(queue.pending for queue in gauges.queues)
    return {
        "queues": [
            (queue, chart([(at.at, at.queues.get(queue.queue, 0)) for at in load], hour, now, limit=QUEUE_LONG))
            for queue in gauges.queues
        ],
        "pending": pending,
        "running": sum(queue.running for queue in gauges.queues),
        "scheduled": sum(queue.scheduled for queue in gauges.queues),
        "held": sum(queue.held for queue in gauges.queues),
        "long": QUEUE_LONG,
        "replicas": math.ceil(pending / PER_REPLICA),
        "unserved": [queue for queue in gauges.queues if queue.pending and not queue.slots],
        "crowded": [queue for queue in gauges.queues if queue.slots and queue.pending > QUEUE_LONG],
        "pause": PAUSE,
    }


PAGE = Page("/admin/queues", "queues.html", read, Scope.ENGINE_READ, "Queues", "q", Group.CAPACITY)
