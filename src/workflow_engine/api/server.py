"""The HTTP server of an engine process, which ends in bounded time once it is told to, whatever it waits for."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

import uvicorn

from workflow_engine.observability.logs import get_logger

_REQUEST_SECONDS = 10  # what requests in progress get
_END_SECONDS = 25.0  # all of it; Kubernetes kills after 30 s by default
_STARTUP_FAILED = 3  # as uvicorn's own command has it


def serve(host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; requests in progress get ten seconds, and the whole process half a minute."""
    server = _Server(
        uvicorn.Config(
            "workflow_engine.asgi:create_app",
            factory=True,
            host=host,
            port=port,
            access_log=False,  # the application logs its requests itself, with their workflow
            log_config=None,
            timeout_graceful_shutdown=_REQUEST_SECONDS,
        )
    )
    # In the end uvicorn raises the signal again that it was stopped by; by default that would look like a crash.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    try:
        server.run()
    except KeyboardInterrupt:
        return
    if not server.started:
        sys.exit(_STARTUP_FAILED)


class _Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            # Nothing is lost by it: what was accepted is in Postgres, and another engine leads.
            limit = threading.Timer(_END_SECONDS, _end_at_once)
            limit.daemon = True
            limit.start()
        super().handle_exit(sig, frame)


def _end_at_once() -> None:
    get_logger("engine").error("stopping without an answer", seconds=_END_SECONDS)
    os._exit(1)
