"""All pages, in the order of the navigation within its groups. A new one is a module with a `PAGE`, a template, and a
line here."""

from workflow_engine.dashboard.page import Page
from workflow_engine.dashboard.pages import (
    alerts,
    approvals,
    audit,
    definition,
    definitions,
    locks,
    outbox,
    overview,
    queue,
    queues,
    schedules,
    settings,
    task,
    task_type,
    task_types,
    workers,
    workflow,
    workflows,
)

PAGES: tuple[Page, ...] = (
    overview.PAGE,
    workflows.PAGE,
    workflow.PAGE,
    task.PAGE,
    definitions.PAGE,
    definition.PAGE,
    queues.PAGE,
    queue.PAGE,
    workers.PAGE,
    task_types.PAGE,
    task_type.PAGE,
    alerts.PAGE,
    alerts.ONE,
    locks.PAGE,
    audit.PAGE,
    settings.PAGE,
    approvals.PAGE,
    approvals.ONE,
    schedules.PAGE,
    schedules.ONE,
    outbox.PAGE,
    outbox.ONE,
)
