"""Spans, made and sent with OpenTelemetry. Needs the extra `otel`: import this module lazily.

Nothing here holds work up: a span is put into a bounded queue, a thread sends what is in it, and what nobody takes is
dropped and counted. No secret that the process knows leaves in a span, whoever made it.

Ids follow from those of workflow, task and attempt (span_names.py), so processes agree on them without a word: whoever
runs an attempt knows its parent, the span of the workflow, which the leading engine writes when the workflow has ended.
"""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from opentelemetry import context, trace
from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from workflow_engine.errors import TaskError
from workflow_engine.observability import metrics, span_facts
from workflow_engine.observability import span_names as names
from workflow_engine.observability.span_facts import said
from workflow_engine.observability.trace_context import flags_of, span_of, trace_of, write_traceparent
from workflow_engine.observability.tracing import Kind, Notes, Role
from workflow_engine.records import Claim
from workflow_engine.redaction import concealed
from workflow_engine.settings import VERSION, Settings

_CLOSE_SECONDS = 5.0  # for what is left when the process ends
_MOST_LINKS = 32
_KINDS: Mapping[Kind, SpanKind] = {"client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}
_SERVICES: Mapping[Role, str] = {"engine": names.ENGINE_SERVICE, "worker": names.WORKER_SERVICE}
_TALKATIVE = ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk._shared_internal")
_SILENCE_SECONDS = 60.0  # between two lines of each of them, who tell of every batch and span that is lost
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_next_span_id: ContextVar[int | None] = ContextVar("next span id", default=None)


class Spans:
    """Of one process.

    Args:
        exporter: Where spans go.
        sampler: Asked about each trace that begins here; a caller's decision is kept.
        resource: What the process is.
        shared: The handlers and libraries of this process, too, get their tracers here, unless they had a provider.
    """

    def __init__(self, exporter: SpanExporter, sampler: Sampler, resource: Resource, *, shared: bool = False) -> None:
        self._resource = resource
        self._scope = InstrumentationScope(names.SCOPE, VERSION)
        self._sampler = sampler
        self._processor = _Counted(_Sender(exporter))
        provider = TracerProvider(
            sampler=ParentBased(sampler), resource=resource, id_generator=_Ids(), shutdown_on_exit=False
        )
        provider.add_span_processor(self._processor)
        if shared and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            trace.set_tracer_provider(provider)
        self._tracer = provider.get_tracer(names.SCOPE, VERSION)

    @property
    def service(self) -> str:
        return str(self._resource.attributes[SERVICE_NAME])

    def attempt(
        self,
        claim: Claim,
        *,
        step: str,
        type: str,
        queue: str,
        worker: str,
        after: Iterable[tuple[int, int]] = (),
    ) -> AttemptSpan:
        """Begin the span of an attempt and make it the current one of the caller's task.

        Args:
            after: Task id and attempt of what it came after, as far as its worker knows them.
        """
        parent = self._root(claim.workflow_id, claim.traceparent, claim.workflow_name)
        own_id = names.attempt_span_id(claim.task_id, claim.attempt)
        if parent.trace_flags.sampled:
            begun = self._begin(claim, parent, own_id, step=step, type=type, queue=queue, worker=worker, after=after)
        else:
            begun = trace.NonRecordingSpan(_beside(parent, own_id))
        context.attach(trace.set_span_in_context(begun))
        return AttemptSpan(begun)

    def _begin(
        self,
        claim: Claim,
        parent: SpanContext,
        own_id: str,
        *,
        step: str,
        type: str,
        queue: str,
        worker: str,
        after: Iterable[tuple[int, int]],
    ) -> trace.Span:
        linked = [] if claim.attempt == 1 else [(names.PREVIOUS_ATTEMPT, claim.task_id, claim.attempt - 1)]
        linked += [(names.DEPENDENCY, task_id, attempt) for task_id, attempt in after]
        facts = span_facts.of_workflow(claim.workflow_id, claim.workflow_name, claim.workflow_version)
        facts |= span_facts.of_attempt(
            task_id=claim.task_id, attempt=claim.attempt, step=step, path=claim.path or step, type=type, queue=queue,
            worker=worker,
        )  # fmt: skip
        given = _next_span_id.set(int(own_id, 16))
        try:
            return self._tracer.start_span(
                names.process(type),
                context=trace.set_span_in_context(trace.NonRecordingSpan(parent), context.Context()),
                kind=SpanKind.CONSUMER,
                attributes=said({**facts, names.WAIT_SECONDS: claim.wait_seconds}),
                links=[_link(parent, why, names.attempt_span_id(*which)) for why, *which in linked[:_MOST_LINKS]],
            )
        finally:
            _next_span_id.reset(given)

    @contextmanager
    def around(self, name: str, attributes: Mapping[str, Any], kind: Kind) -> Iterator[Notes]:
        """See `tracing.span`."""
        with self._tracer.start_as_current_span(
            name, kind=_KINDS[kind], attributes=said(attributes), record_exception=False, set_status_on_exception=False
        ) as current:
            notes = _Notes(current)
            try:
                yield notes
            except BaseException as error:
                notes.failed(error.type if isinstance(error, TaskError) else type(error).__name__)
                raise

    def workflow(self, ended: Mapping[str, Any]) -> None:
        """Write the span of a workflow that has ended, as workflow.ended_spans tells it."""
        root = self._root(ended["workflow_id"], ended["traceparent"], ended["name"])
        traceparent: str | None = ended["traceparent"]
        parent = None if traceparent is None else _remote(trace_of(traceparent), span_of(traceparent), root.trace_flags)
        own = root
        if ended["again"] is not None:
            own, parent = _beside(root, names.retried_span_id(ended["workflow_id"], ended["again"])), root
        facts = span_facts.of_workflow(ended["workflow_id"], ended["name"], ended["version"])
        error = ended["error"]
        facts |= {names.WORKFLOW_STATUS: ended["status"], names.ERROR_TYPE: error and error.get("type")}
        self._write(ended, ended["name"], SpanKind.INTERNAL, facts, own=own, parent=parent, outcome=ended["status"])

    def gone(self, ended: Mapping[str, Any]) -> None:
        """Write the span of an attempt that nobody came back from, as workflow.ended_spans tells it."""
        root = self._root(ended["workflow_id"], ended["traceparent"], ended["name"])
        own = _beside(root, names.attempt_span_id(ended["task_id"], ended["attempt"]))
        facts = span_facts.of_workflow(ended["workflow_id"], ended["name"], ended["version"])
        told = ("task_id", "attempt", "step", "path", "type", "queue", "worker")
        facts |= span_facts.of_attempt(**{name: ended[name] for name in told})
        facts |= span_facts.of_end(ended["outcome"], ended["error"])
        if ended["pending_since"] is not None:
            waited = _nanoseconds(ended["started_at"]) - _nanoseconds(ended["pending_since"])
            facts[names.WAIT_SECONDS] = max(waited, 0) / 1e9
        name = names.process(ended["type"])
        self._write(ended, name, SpanKind.CONSUMER, facts, own=own, parent=root, outcome=ended["outcome"])

    def close(self) -> None:
        """Send what is left, for some seconds at most."""
        # Its own limit begins with the batch after the one that hangs.
        sending = threading.Thread(target=self._processor.shutdown, name="last spans", daemon=True)
        sending.start()
        sending.join(_CLOSE_SECONDS)

    def _root(self, workflow_id: str, traceparent: str | None, name: str) -> SpanContext:
        """Of the span of a workflow, with the decision about its trace."""
        trace_id = names.trace_id(workflow_id, traceparent)
        if traceparent is not None:
            flags = TraceFlags(flags_of(traceparent))
        else:
            asked = self._sampler.should_sample(context.Context(), _spread(int(trace_id, 16)), name)
            sampled = asked.decision is Decision.RECORD_AND_SAMPLE
            flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        return _remote(trace_id, names.root_span_id(workflow_id), flags)

    def _write(
        self,
        ended: Mapping[str, Any],
        name: str,
        kind: SpanKind,
        facts: Mapping[str, Any],
        *,
        own: SpanContext,
        parent: SpanContext | None,
        outcome: str,
    ) -> None:
        begun, over = _nanoseconds(ended["started_at"]), _nanoseconds(ended["ended_at"])
        error = ended["error"]
        self._processor.on_end(
            ReadableSpan(
                name,
                context=own,
                parent=parent,
                resource=self._resource,
                attributes=said(facts),
                events=[Event(names.EXCEPTION, said(span_facts.of_error(error)), over)] if error else [],
                kind=kind,
                status=_status(outcome, error),
                start_time=begun,
                end_time=over,
                instrumentation_scope=self._scope,
            )
        )


class AttemptSpan:
    """The span of an attempt that runs. One that its worker does not end is written by the leader."""

    __slots__ = ("_span", "traceparent")

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self.traceparent = _traceparent(span)

    def end(self, outcome: str, error: Mapping[str, Any] | None) -> None:
        """The attempt has ended.

        Args:
            error: As it is stored: without secrets.
        """
        if not self._span.is_recording():
            return
        self._span.set_attributes(said(span_facts.of_end(outcome, error)))
        if error is not None:
            self._span.add_event(names.EXCEPTION, said(span_facts.of_error(error)))
        self._span.set_status(_status(outcome, error))
        self._span.end()


def open_spans(settings: Settings, role: Role, instance: str) -> Spans:
    """As the `OTEL_*` variables say, most of which OpenTelemetry itself reads.

    Raises:
        ImportError: A package that sends spans in this way is missing.
        ValueError: A variable asks for what is not known here.
    """
    ours = {SERVICE_NAME: _SERVICES[role], SERVICE_VERSION: VERSION, SERVICE_INSTANCE_ID: instance}
    given = OTELResourceDetector().detect().attributes
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(_Seldom())
    # The default is that of OpenTelemetry, which alone reads OTEL_TRACES_SAMPLER.
    sampler = TracerProvider(shutdown_on_exit=False).sampler
    # Not in an engine: nobody's handlers run there, and FastAPI would write spans of each probe and scrape.
    return Spans(_exporter(settings), sampler, Resource.create({**ours, **given}), shared=role == "worker")


def takes_spans(settings: Settings) -> bool:
    """Whether what spans are sent to takes them: it is sent none.

    Raises:
        ImportError: As `open_spans`.
        ValueError: As `open_spans`.
    """
    exporter = _exporter(settings)
    try:
        return exporter.export(()) is SpanExportResult.SUCCESS
    finally:
        exporter.shutdown()


def _exporter(settings: Settings) -> SpanExporter:
    if settings.traces_exporter == "console":
        return ConsoleSpanExporter()
    if settings.traces_exporter != "otlp":
        raise ValueError(f"OTEL_TRACES_EXPORTER={settings.traces_exporter}: write otlp, console or none")
    protocol = settings.otlp_traces_protocol or settings.otlp_protocol
    if protocol == "grpc":
        return _grpc_exporter()
    if protocol != "http/protobuf":
        raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol}: write http/protobuf or grpc")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def _grpc_exporter() -> SpanExporter:
    try:
        module = importlib.import_module("opentelemetry.exporter.otlp.proto.grpc.trace_exporter")
    except ImportError as error:
        package = "opentelemetry-exporter-otlp-proto-grpc"
        raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL=grpc needs a package: pip install {package}") from error
    exporter: SpanExporter = module.OTLPSpanExporter()
    return exporter


class _Seldom(logging.Filter):
    """Lets one record pass and then none for a while: metrics count what is lost."""

    def __init__(self) -> None:
        super().__init__()
        self._again = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now < self._again:
            return False
        self._again = now + _SILENCE_SECONDS
        return True


class _Ids(RandomIdGenerator):
    """Random, but for the span of an attempt."""

    def generate_span_id(self) -> int:
        return _next_span_id.get() or super().generate_span_id()


class _Counted(BatchSpanProcessor):
    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled:
            metrics.spans_made.inc()
            super().on_end(span)


class _Sender(SpanExporter):
    """Takes secrets out of spans, and counts what became of them. Called by the thread that sends."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export([_told(span) for span in spans])
        except Exception:
            metrics.spans_failed.inc(len(spans))
            raise
        (metrics.spans_sent if result is SpanExportResult.SUCCESS else metrics.spans_failed).inc(len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class _Notes:
    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str | None:
        return _traceparent(self._span)

    def note(self, attributes: Mapping[str, Any]) -> None:
        self._span.set_attributes(said(attributes))

    def failed(self, error_type: str) -> None:
        self._span.set_attribute(names.ERROR_TYPE, error_type)
        self._span.set_status(Status(StatusCode.ERROR))


def _traceparent(span: trace.Span) -> str:
    own = span.get_span_context()
    return write_traceparent(trace.format_trace_id(own.trace_id), trace.format_span_id(own.span_id), own.trace_flags)


def _told(span: ReadableSpan) -> ReadableSpan:
    """A span without the secrets that this process knows."""
    own = {"name": span.name, "description": span.status.description}
    if not span.events and concealed.told(glance := {**(span.attributes or {}), **own}) is glance:
        return span
    parts = [own, dict(span.attributes or {}), *(dict(event.attributes or {}) for event in span.events)]
    told = [concealed.told(part) for part in parts]
    if told == parts:
        return span
    own, attributes, *events = told
    return ReadableSpan(
        own["name"] or "",
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        events=[Event(event.name, its, event.timestamp) for event, its in zip(span.events, events, strict=True)],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code, own["description"]),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _status(outcome: str, error: Mapping[str, Any] | None) -> Status:
    if outcome in span_facts.ERROR_OUTCOMES:
        return Status(StatusCode.ERROR, str(error.get("message", "")) if error else None)
    return Status(StatusCode.OK if outcome in span_facts.OK_OUTCOMES else StatusCode.UNSET)


def _remote(trace_id: str, span_id: str, flags: TraceFlags) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=flags)


def _beside(other: SpanContext, span_id: str) -> SpanContext:
    """Another span of the same trace."""
    return SpanContext(other.trace_id, int(span_id, 16), is_remote=True, trace_flags=other.trace_flags)


def _link(root: SpanContext, why: str, span_id: str) -> Link:
    return Link(_beside(root, span_id), {names.LINK: why})


def _spread(trace_id: int) -> int:
    """For samplers, which compare the lower half of a trace id with a bound.

    In the id of a workflow the first bits of that half are the same in all; the 56 behind them are random.
    """
    return (trace_id & (1 << 56) - 1) << 8


def _nanoseconds(at: str) -> int:
    passed = datetime.fromisoformat(at) - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000_000 + passed.microseconds * 1_000
