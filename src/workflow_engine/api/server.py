"""The HTTP server of an engine process, which ends in bounded time once it is told to, whatever it waits for."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from workflow_engine.api.guards import MAX_TARGET_BYTES
from workflow_engine.api.protocol import BoundedProtocol
from workflow_engine.garbage import collect_seldom
from workflow_engine.observability.logs import get_logger
from workflow_engine.settings import Settings

_REQUEST_SECONDS = 10  # what requests in progress get
END_SECONDS = 25.0
"""After which it has ended, whatever it waits for; Kubernetes kills after 30 s by default."""
_STARTUP_FAILED = 3  # as uvicorn's own command has it


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests in progress get ten seconds, and the whole process half a minute."""
    config = server_config("workflow_engine.asgi:create_app", settings, grace_seconds=_REQUEST_SECONDS)
    server = _Server(config)
    # In the end uvicorn raises the signal again that it was stopped by; by default that would look like a crash.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    try:
        server.run()
    except KeyboardInterrupt:
        return
    if not server.started:
        sys.exit(_STARTUP_FAILED)


def server_config(
    app: ASGIApp | str, settings: Settings, *, port: int | None = None, grace_seconds: int = 1
) -> uvicorn.Config:
    """How an engine is served.

    Args:
        app: The engine, or where the function is that makes it.
        settings: Where it listens, and what bounds requests.
        port: Another port than that of the settings; 0 = a free one.
        grace_seconds: What requests in progress get at the end.
    """
    bounds = {
        "request_seconds": settings.request_timeout,
        # Told apart in `guards`; beyond both together nothing is kept at all.
        "max_head_bytes": settings.max_header_bytes + MAX_TARGET_BYTES,
    }
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        host=settings.host,
        port=settings.port if port is None else port,
        http=type("Protocol", (BoundedProtocol,), bounds),
        ws="none",
        loop="uvloop",
        lifespan="on",
        access_log=False,  # the application logs its requests itself, with their workflow
        log_config=None,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=grace_seconds,
    )


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        collect_seldom()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            # Nothing is lost by it: what was accepted is in Postgres, and another engine leads.
            limit = threading.Timer(END_SECONDS, _end_at_once)
            limit.daemon = True
            limit.start()
        super().handle_exit(sig, frame)


def _end_at_once() -> None:
    get_logger("engine").error("stopping without an answer", seconds=END_SECONDS)
    os._exit(1)
