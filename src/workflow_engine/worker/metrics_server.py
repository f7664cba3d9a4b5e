"""The port of a worker: `/metrics` for Prometheus, and `/debug/memory` for people."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from workflow_engine.worker.leases import resident_bytes
from workflow_engine.worker.profiler import MemoryProfiler

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def serve_metrics(host: str, port: int, *, limit: int | None, profiler: MemoryProfiler | None) -> None:
    """Serve in threads of its own for as long as the process lives.

    Raises:
        OSError: The port is taken.
    """
    app = _with_memory(make_wsgi_app(), limit, profiler)
    server = make_server(host, port, app, server_class=_Server, handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()


def memory_page(limit: int | None, profiler: MemoryProfiler | None) -> str:
    """What `/debug/memory` shows."""
    shown = [f"rss={resident_bytes()} limit={limit or 'none'}"]
    if profiler is None:
        shown.append("The memory profiler is off. MEMORY_PROFILER=true turns it on, when the worker starts.")
    elif (top := profiler.page()) is None:
        shown.append("Allocations are being traced for somebody else. Ask again in a moment.")
    else:
        shown += ["Allocated while they were traced, and still in use; most memory first:", *top]
    return "\n".join(shown) + "\n"


def _with_memory(metrics: Any, limit: int | None, profiler: MemoryProfiler | None) -> Callable[..., Iterable[bytes]]:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/debug/memory" or environ["REQUEST_METHOD"] != "GET":
            answer: Iterable[bytes] = metrics(environ, start_response)
            return answer
        start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")])
        return [memory_page(limit, profiler).encode()]

    return app


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not worth a line each."""
