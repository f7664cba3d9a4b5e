"""The ASGI application of an engine process: API, dashboard and maintenance duties over one pool of connections.

uvicorn --factory workflow_engine.asgi:create_app
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from workflow_engine.api.app import build_app
from workflow_engine.api.services import serving
from workflow_engine.bootstrap import open_store
from workflow_engine.dashboard.router import dashboard_router
from workflow_engine.maintenance.leader import run_maintenance
from workflow_engine.mirror.client import Mirror
from workflow_engine.observability.tracing import tracing
from workflow_engine.settings import Settings, load_settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """An engine as an ASGI application; Postgres may still be away when it starts.

    Args:
        settings: Default: read from the environment.

    Raises:
        SettingsInvalid: The environment has a wrong value, or in production does not say whether callers need keys.
    """
    chosen = settings or load_settings()
    chosen.check_auth_choice()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        mirror = Mirror(chosen.redis_url)
        try:
            with tracing(chosen, role="engine", instance=f"{socket.gethostname()}-{os.getpid()}"):
                async with (
                    open_store(chosen, "workflow-engine api") as store,
                    run_maintenance(chosen, store, mirror),
                    serving(app, chosen, store, mirror),
                ):
                    yield
        finally:
            await mirror.close()

    app = build_app(lifespan, chosen)
    app.include_router(dashboard_router(needs_keys=chosen.needs_keys))
    return app
