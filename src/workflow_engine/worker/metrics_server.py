"""The port of a worker: `/metrics` for Prometheus, `/livez` for probes, and `/debug/memory` for people."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import orjson
from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app

from workflow_engine.observability.metrics import WORKER
from workflow_engine.worker.leases import resident_bytes
from workflow_engine.worker.liveness import Liveness
from workflow_engine.worker.profiler import MemoryProfiler

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def serve_metrics(
    host: str, port: int, *, liveness: Liveness, limit: int | None, profiler: MemoryProfiler | None
) -> None:
    """Serve in threads of its own for as long as the process lives.

    Raises:
        OSError: The port is taken.
    """
    exported = CollectorRegistry(auto_describe=True)
    exported.register(REGISTRY)  # what all processes have, and what handlers of users count
    exported.register(WORKER)
    app = _application(make_wsgi_app(exported), liveness, limit, profiler)
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


def _application(
    metrics: Any, liveness: Liveness, limit: int | None, profiler: MemoryProfiler | None
) -> Callable[..., Iterable[bytes]]:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked = environ["PATH_INFO"] if environ["REQUEST_METHOD"] == "GET" else ""
        if asked == "/livez":
            problem = liveness.problem()
            said = {"status": "ok"} if problem is None else {"status": "stuck", "detail": problem}
            status, kind, body = (
                "200 OK" if problem is None else "503 Service Unavailable",
                "application/json",
                orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE),
            )
        elif asked == "/debug/memory":
            status, kind, body = "200 OK", "text/plain; charset=utf-8", memory_page(limit, profiler).encode()
        else:
            answer: Iterable[bytes] = metrics(environ, start_response)
            return answer
        start_response(status, [("Content-Type", kind), ("Cache-Control", "no-store")])
        return [body]

    return app


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not worth a line each."""
