"""A collector of traces: takes OTLP by HTTP as OpenTelemetry sends it, and keeps the spans."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan


@dataclass(frozen=True)
class CollectedSpan:
    """One span as it arrived. Times are in nanoseconds since 1970."""

    service: str
    name: str
    kind: str  # `CLIENT`, ...
    trace_id: str
    span_id: str
    parent_id: str | None
    start: int
    end: int
    status: str  # `OK`, `ERROR`, `UNSET`
    message: str
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    links: list[tuple[str, dict[str, Any]]]  # the id of the other span, and why


@dataclass
class Collector:
    """The server on a free port of 127.0.0.1; use it as a context manager.

    Attributes:
        status: What it answers.
        bodies: What was sent, as it came, unzipped.
    """

    status: int = 200
    spans: list[CollectedSpan] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def __enter__(self) -> Collector:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                self.send_response(collector.status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        assert (path, headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
        self.bodies.append(body)
        self.headers.append(headers)
        if self.status == 200:
            self.spans += _spans(ExportTraceServiceRequest.FromString(body))

    def of(self, trace_id: str) -> list[CollectedSpan]:
        """The spans of a trace, in the order they began."""
        return sorted((span for span in self.spans if span.trace_id == trace_id), key=lambda span: span.start)


def _spans(request: ExportTraceServiceRequest) -> Iterable[CollectedSpan]:
    for resource in request.resource_spans:
        service = _attributes(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield CollectedSpan(
                    service=service,
                    name=span.name,
                    kind=ProtoSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex() or None,
                    start=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    status=("UNSET", "OK", "ERROR")[span.status.code],
                    message=span.status.message,
                    attributes=_attributes(span.attributes),
                    events=[(event.name, _attributes(event.attributes)) for event in span.events],
                    links=[(link.span_id.hex(), _attributes(link.attributes)) for link in span.links],
                )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None
