"""Puts the API together."""

from __future__ import annotations

import functools

from fastapi import Depends, FastAPI
from fastapi_offline import FastAPIOffline
from starlette.types import Lifespan

from workflow_engine.api.answers import API
from workflow_engine.api.auditing import Auditing
from workflow_engine.api.docs_page import docs_router
from workflow_engine.api.entering import enter
from workflow_engine.api.envelope import Envelope
from workflow_engine.api.guards import Guards
from workflow_engine.api.operations import document
from workflow_engine.api.problems import add_problem_handlers
from workflow_engine.api.routes import (
    alerts,
    approvals,
    audit,
    autoscaling,
    budgets,
    bulk,
    definitions,
    events,
    graph,
    health,
    locks,
    logs,
    orphans,
    outbox,
    pausing,
    problems,
    reload,
    reruns,
    schedules,
    schema,
    signals,
    starts,
    task_durations,
    task_types,
    tasks,
    trace,
    trials,
    versions,
    whoami,
    why,
    workers,
    workflows,
)
from workflow_engine.api.routing import add_routes
from workflow_engine.settings import VERSION, Settings

_DESCRIPTION = """A durable workflow engine on Postgres.

Where keys are needed, send one: `Authorization: Bearer wfk_...`; `x-scope` says what it must be allowed to do.
Errors are problem details (RFC 9457). `?pretty` indents any answer. A definition is started by submitting its steps or
its name; the answer is 202 with the id of the workflow, and Postgres has it.
"""
_TAGS = [
    {"name": "workflows", "description": "One execution of a definition version each."},
    {"name": "definitions", "description": "Named documents that say what is to be done, in numbered versions."},
    {"name": "tasks", "description": "One step inside one workflow each."},
    {"name": "task-types", "description": "The registered kinds of work, and what operators set for them."},
    {"name": "workers", "description": "The processes that run tasks."},
    {"name": "locks", "description": "What tasks must get before they may run, shared by all workflows."},
    {"name": "schedules", "description": "When definitions start by themselves."},
    {"name": "approvals", "description": "What people are asked, and their answers."},
    {"name": "outbox", "description": "What workflows have emitted, and how far its delivery is."},
    {"name": "access", "description": "Who may do what, and what was asked by whom."},
    {"name": "engine", "description": "The engine as a whole."},
    {"name": "health", "description": "For people and for probes."},
]


def build_app(lifespan: Lifespan[FastAPI], settings: Settings) -> FastAPI:
    """The application.

    Args:
        lifespan: Runs around its life; inside, `services.serving` must be open.
        settings: What its guards allow.
    """
    app: FastAPI = FastAPIOffline(
        title="Workflow Engine",
        version=VERSION,
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        lifespan=lifespan,
        dependencies=[Depends(enter)],
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirected POST loses its body with many clients
    )
    add_routes(
        app,
        starts.router,
        trials.router,
        definitions.router,
        schema.router,
        orphans.router,
        reload.router,
        versions.router,
        budgets.router,
        bulk.router,
        reruns.router,
        workflows.router,
        graph.router,
        trace.router,
        why.router,
        logs.router,
        events.router,
        task_durations.router,
        task_types.router,
        tasks.router,
        workers.router,
        autoscaling.router,
        alerts.router,
        pausing.router,
        locks.router,
        schedules.router,
        signals.router,
        approvals.router,
        outbox.router,
        audit.router,
        whoami.router,
        problems.router,
    )
    app.include_router(health.router, prefix=API)
    app.include_router(health.router, include_in_schema=False)
    app.include_router(health.metrics_router)
    app.include_router(docs_router(app))
    app.add_middleware(Guards, settings=settings)
    app.add_middleware(Auditing)  # around the guards, too: what they forbid is in the audit log
    app.add_middleware(Envelope)  # around the guards: what they refuse is logged and counted, too
    add_problem_handlers(app)
    app.openapi = functools.partial(document, app)  # type: ignore[method-assign]
    return app
