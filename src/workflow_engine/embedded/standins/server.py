"""JSON over HTTP for the stand-ins: one function per stand-in, from a request to an answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

LARGEST_BODY = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. `body` is the parsed JSON, the text of anything else, or None."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    body: Any


@dataclass(frozen=True, slots=True)
class Answer:
    body: Any
    status: int = 200


Answering: TypeAlias = Callable[[Request], Answer]


def problem(status: int, detail: str) -> Answer:
    """A refusal as RFC 9457 has it."""
    return Answer(
        {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}, status
    )


def start_server(name: str, port: int, answer: Answering) -> ThreadingHTTPServer:
    """Serve on 127.0.0.1 in threads that end with the process; `GET /health` is answered for every stand-in.

    Args:
        name: Shown by `/health` and in the `Server` header.
        port: TCP port; 0 = any free one (`server_port` tells which).
        answer: Called for every request, from several threads at once.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # keeps connections open between steps
        server_version = f"workflow-engine-stand-in/{name}"
        sys_version = ""

        def answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            if size > LARGEST_BODY:
                self.close_connection = True
                self._send(problem(413, f"The body is larger than {LARGEST_BODY} bytes"))
                return
            raw = self.rfile.read(size)
            parts = urlsplit(self.path)
            request = Request(
                method=self.command,
                path=parts.path,
                query=dict(parse_qsl(parts.query)),
                headers={key.lower(): value for key, value in self.headers.items()},
                body=_parse(raw),
            )
            if (request.method, request.path) == ("GET", "/health"):
                self._send(Answer({"status": "ok", "service": name, "stand_in": True}))
            else:
                self._send(answer(request))

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = answer  # noqa: N815 names the base class looks for

        def _send(self, result: Answer) -> None:
            payload = json.dumps(result.body).encode()
            self.send_response(result.status)
            is_problem = result.status >= HTTPStatus.BAD_REQUEST
            self.send_header("Content-Type", "application/problem+json" if is_problem else "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(payload)

        def log_message(self, format: str, *arguments: object) -> None:
            print(f"{name} {format % arguments}", flush=True)

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name=name, daemon=True).start()
    return server


def _parse(raw: bytes) -> Any:
    if not raw:
        return None
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")
