"""All of Postgres behind one object: `store.control.cancel(...)`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from workflow_engine.records import EnginePause, Gauges, QueueGauges, WorkflowGauges
from workflow_engine.store.alerts import Alerts
from workflow_engine.store.api_keys import ApiKeys
from workflow_engine.store.approvals import Approvals
from workflow_engine.store.audit import Audit
from workflow_engine.store.control import Control
from workflow_engine.store.definitions import Definitions
from workflow_engine.store.engine import Engine
from workflow_engine.store.history import History
from workflow_engine.store.locks import Locks
from workflow_engine.store.maintenance import Maintenance
from workflow_engine.store.mirrored import Mirrored
from workflow_engine.store.orphans import Orphans
from workflow_engine.store.outbox import Outbox
from workflow_engine.store.overview import Overview
from workflow_engine.store.pool import Pool
from workflow_engine.store.queues import Queues
from workflow_engine.store.reruns import Reruns
from workflow_engine.store.schedules import Schedules
from workflow_engine.store.signals import Signals
from workflow_engine.store.task_durations import TaskDurations
from workflow_engine.store.task_types import TaskTypes
from workflow_engine.store.tasks import Tasks
from workflow_engine.store.workers import Workers
from workflow_engine.store.workflow_search import WorkflowSearch
from workflow_engine.store.workflows import Workflows


class Store:
    """Access to the engine's database.

    Args:
        pool: Where statements run; opened and closed by the caller.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.definitions = Definitions(pool)
        self.engine = Engine(pool)
        self.workflows = Workflows(pool)
        self.search = WorkflowSearch(pool)
        self.control = Control(pool)
        self.tasks = Tasks(pool)
        self.history = History(pool)
        self.overview = Overview(pool)
        self.reruns = Reruns(pool)
        self.orphans = Orphans(pool)
        self.workers = Workers(pool)
        self.queues = Queues(pool)
        self.schedules = Schedules(pool)
        self.signals = Signals(pool)
        self.approvals = Approvals(pool)
        self.outbox = Outbox(pool)
        self.locks = Locks(pool)
        self.task_types = TaskTypes(pool)
        self.task_durations = TaskDurations(pool)
        self.api_keys = ApiKeys(pool)
        self.audit = Audit(pool)
        self.alerts = Alerts(pool)
        self.maintenance = Maintenance(pool)
        self.mirrored = Mirrored(pool)

    async def is_migrated(self) -> bool:
        """Whether the database has our tables; one round trip.

        Raises:
            StoreUnavailable: Postgres did not answer.
        """
        found: bool = await self.pool.value("select to_regclass('workflow.workflows') is not null", repeatable=True)
        return found

    async def has_api_keys(self) -> bool:
        """Whether the database is migrated as far as keys of the API.

        Raises:
            StoreUnavailable: Postgres did not answer.
        """
        found: bool = await self.pool.value("select to_regclass('workflow.api_keys') is not null", repeatable=True)
        return found

    async def gauges(self) -> Gauges:
        """Where the engine stands; one round trip, whose cost does not grow with what has ended.

        Raises:
            StoreUnavailable: Postgres did not answer.
        """
        # Beside the others, not among them: the version before takes these by name, and knows no more of them.
        found = await self.pool.value(
            "select workflow.gauges() || jsonb_build_object("
            "'oldest_transaction_seconds', workflow.oldest_transaction_seconds(),"
            "'slots', (select coalesce(sum(w.concurrency), 0) from workflow.worker_list w where w.status = 'active'),"
            "'pause', (select jsonb_build_object('since', e.paused_at, 'until', e.paused_until, 'by', e.paused_by,"
            " 'reason', e.paused_reason) from workflow.engine e where e.paused_at is not null))",
            repeatable=True,
        )
        queues = [QueueGauges(**queue) for queue in found["queues"]]
        return Gauges(**{**found, "queues": queues, "pause": _pause(found["pause"]) if found["paused"] else None})

    async def workflow_gauges(self, *, grace_seconds: float) -> WorkflowGauges:
        """Where the live workflows stand; one round trip, whose cost grows with their number.

        Args:
            grace_seconds: See `orphans.list`.
        """
        found = await self.pool.value("select workflow.workflow_gauges(%s)", [grace_seconds], repeatable=True)
        return WorkflowGauges(**found)


def _pause(found: Mapping[str, Any]) -> EnginePause:
    since, until = (None if at is None else datetime.fromisoformat(at) for at in (found["since"], found["until"]))
    assert since is not None  # it is paused
    return EnginePause(since, until, found["by"], found["reason"])
