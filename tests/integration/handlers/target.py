"""A real HTTP server that behaves as badly as a test asks it to: the path says how."""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

HUGE = 64 * 1024 * 1024
_CHUNK = b"x" * 65536


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    body: bytes | str | dict[str, Any] | list[Any] = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Target:
    """The server on a free port of 127.0.0.1. `answers` maps a path to what it answers, for tests with their own."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: dict[str, Answer | list[Answer]] = {}
        self.sent_bytes = 0
        self.release = threading.Event()  # lets hanging answers end
        target = self

        class Handler(_Handler):
            pass

        Handler.target = target
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    async def was_asked(self) -> bool:
        return bool(self.received)

    def __enter__(self) -> Target:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    target: Target
    protocol_version = "HTTP/1.1"

    def _respond(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        received = Received(self.command, parts.path, parse_qsl(parts.query), headers, body)
        self.target.received.append(received)
        try:
            self._behave(received)
        except OSError:
            self.close_connection = True  # the client has had enough

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _respond  # noqa: N815 names the base class looks for

    def _behave(self, received: Received) -> None:
        own = self.target.answers.get(received.path)
        if own is not None:
            self._send(own.pop(0) if isinstance(own, list) else own)
            return
        kind, _, rest = received.path.lstrip("/").partition("/")
        behaviour = getattr(self, f"_{kind.replace('-', '_')}", None)
        if behaviour is None:
            self._send(Answer({"detail": "no such behaviour"}, 404))
        else:
            behaviour(received, rest)

    def _send(self, answer: Answer) -> None:
        body = answer.body
        headers = dict(answer.headers)
        if isinstance(body, dict | list):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        elif isinstance(body, str):
            body = body.encode()
            headers.setdefault("Content-Type", "text/plain; charset=utf-8")
        self.send_response(answer.status)
        headers.setdefault("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _echo(self, received: Received, _: str) -> None:
        seen = {"method": received.method, "query": received.query, "body": received.body.decode("latin-1")}
        self._send(Answer({**seen, "headers": received.headers}))

    def _status(self, received: Received, rest: str) -> None:
        self._send(Answer({"why": "asked for"}, int(rest)))

    def _slow(self, received: Received, _: str) -> None:
        self.target.release.wait(60)
        self._send(Answer("at last"))

    def _silent(self, received: Received, _: str) -> None:
        """Begins an answer and never goes on."""
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"half")
        self.target.release.wait(60)

    def _drip(self, received: Received, _: str) -> None:
        """Goes on and on, a byte at a time."""
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        while not self.target.release.wait(0.01):
            self.wfile.write(b"x")

    def _headers(self, received: Received, _: str) -> None:
        """Headers without end."""
        self.send_response_only(200)
        while not self.target.release.is_set():
            self.wfile.write(b"X-More: " + _CHUNK[:1000] + b"\r\n")

    def _cut(self, received: Received, _: str) -> None:
        """Promises more than it sends."""
        self._send(Answer(b"half", headers={"Content-Length": "100"}))
        self.close_connection = True

    def _huge(self, received: Received, _: str) -> None:
        """An answer without a length that goes on for 64 MiB."""
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        while self.target.sent_bytes < HUGE:
            self.wfile.write(_CHUNK)
            self.target.sent_bytes += len(_CHUNK)

    def _bomb(self, received: Received, _: str) -> None:
        """Some 64 KiB that inflate to 64 MiB."""
        squeeze = zlib.compressobj(9, wbits=31)
        body = b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(HUGE >> 20)) + squeeze.flush()
        self._send(Answer(body, headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"}))

    def _gzip(self, received: Received, rest: str) -> None:
        body = gzip.compress(b'{"zipped":') + gzip.compress(b" true}")  # two members, as `cat a.gz b.gz` makes
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        self._send(Answer(body[: int(rest)] if rest else body, headers=headers))

    def _loop(self, received: Received, _: str) -> None:
        self._send(Answer(status=302, headers={"Location": "/loop"}))

    def _redirect(self, received: Received, rest: str) -> None:
        """`/redirect/307?to=URL`"""
        self._send(Answer(status=int(rest or 302), headers={"Location": dict(received.query)["to"]}))

    def _limited(self, received: Received, _: str) -> None:
        self._send(Answer("slow down", 429, {"Retry-After": "7"}))

    def _maintenance(self, received: Received, _: str) -> None:
        """Back 90 seconds after the (wrong) time of its own clock."""
        self.send_response_only(503)
        self.send_header("Date", formatdate(1_000_000_000, usegmt=True))
        self.send_header("Retry-After", formatdate(1_000_000_090, usegmt=True))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: pytest shows the requests of a failed test."""
