"""What the routes work with, made once for the life of the application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fastapi import FastAPI, Request

from workflow_engine.api.admission import Admission
from workflow_engine.api.audit_log import AuditLog
from workflow_engine.api.authentication import Authentication
from workflow_engine.api.definitions import DefinitionReader
from workflow_engine.api.following import Following
from workflow_engine.api.health import Health
from workflow_engine.api.known_names import KnownNames
from workflow_engine.api.presence import Presence
from workflow_engine.api.reloading import Reloader
from workflow_engine.api.scraping import Scraping
from workflow_engine.api.starting import Starter
from workflow_engine.api.trials import Trials
from workflow_engine.api.waiting import Waiting
from workflow_engine.background import end_tasks
from workflow_engine.mirror.client import Mirror
from workflow_engine.mirror.definitions import DefinitionCache
from workflow_engine.mirror.locks import OperationLocks
from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger
from workflow_engine.observability.loop_lag import LoopLag
from workflow_engine.settings import VERSION, Settings
from workflow_engine.store.audit import Audit
from workflow_engine.store.pool import Pool
from workflow_engine.store.store import Store

_OPEN = "authentication is off: whoever reaches this port may do everything; WORKFLOW_AUTH=token asks for keys"


@dataclass(frozen=True, slots=True)
class Services:
    settings: Settings
    store: Store
    mirror: Mirror
    starter: Starter
    waiting: Waiting
    health: Health
    operations: OperationLocks
    reloader: Reloader
    scraping: Scraping
    trials: Trials
    admission: Admission
    authentication: Authentication
    audit_log: AuditLog
    following: Following
    streams: set[object] = field(default_factory=set)  # that are open


@asynccontextmanager
async def serving(app: FastAPI, settings: Settings, store: Store, mirror: Mirror) -> AsyncIterator[None]:
    """Give the routes of `app` what they need, for as long as the context is open."""
    if not settings.needs_keys:
        get_logger("api").warning(_OPEN, auth="none")
    # Requests must not keep it waiting.
    audit_pool = Pool(
        settings.database_url, name="workflow-engine audit", size=1, shared=bool(settings.direct_database_url)
    )
    await audit_pool.open()
    cache = DefinitionCache(mirror)
    names = KnownNames(settings, store)
    reloader = Reloader(settings, store, names, cache)
    admission = Admission(store, settings.max_pending)
    services = Services(
        settings,
        store,
        mirror,
        Starter(store, names, DefinitionReader(store, cache), admission),
        Waiting(settings, store),
        Health(settings, store, mirror, VERSION),
        OperationLocks(mirror),
        reloader,
        Scraping(settings, store),
        Trials(settings),
        admission,
        Authentication(settings, store.api_keys),
        AuditLog(Audit(audit_pool)),
        Following(store),
    )
    metrics.build_info.info({"version": VERSION})
    app.state.services = services
    lag = LoopLag(metrics.engine_event_loop_lag)
    presence = Presence(settings, store, VERSION, lag)
    beside = [asyncio.create_task(work) for work in (reloader.read_at_start(), lag.run(), presence.run())]
    try:
        yield
    finally:
        await end_tasks(*beside)
        await services.following.close()
        await presence.end()
        await services.operations.close()
        await services.waiting.close()
        await services.starter.close()
        await services.admission.close()
        await services.health.close()
        await services.authentication.close()
        await services.audit_log.close()
        await audit_pool.close()


def services(request: Request) -> Services:
    """The services of the application that serves this request."""
    found: Services = request.app.state.services
    return found
