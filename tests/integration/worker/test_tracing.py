"""Spans, from real workers to a real collector: what a trace shows of a workflow and of whom it asks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, TypeAlias

import psycopg
import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from prometheus_client import REGISTRY
from support.collector import CollectedSpan, Collector
from support.eventually import eventually, eventually_async

from workflow_engine.definition.compile import compile_definition
from workflow_engine.errors import TaskError
from workflow_engine.handlers.base import Handle, Handler, TaskContext
from workflow_engine.handlers.builtin import builtin_handlers, make_http_client
from workflow_engine.handlers.connections import Connections
from workflow_engine.handlers.functions import as_handle
from workflow_engine.handlers.threads import Threads
from workflow_engine.maintenance.traces import Traces
from workflow_engine.observability import span_names as names
from workflow_engine.observability.spans import Spans
from workflow_engine.observability.tracing import tracing
from workflow_engine.records import Attempt, WorkflowStart
from workflow_engine.redaction import concealed
from workflow_engine.settings import Settings, load_settings
from workflow_engine.store.store import Store

from ..handlers.target import Answer, Target
from .conftest import Engine, StartWorker

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e47", "00f067aa0ba902b7"
SECRET = "canary-secret-of-the-tracing-tests"

Run: TypeAlias = Callable[..., Any]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def spans(collector: Collector) -> Iterator[Spans]:
    """Of this process, which is worker and engine; a provider that OpenTelemetry has is one for good."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        with tracing(load_settings(), role="worker", instance="test") as spans:
            assert spans is not None
            yield spans


@pytest.fixture
def target() -> Iterator[Target]:
    with Target() as target:
        yield target


@pytest.fixture
async def builtin(settings: Settings, target: Target) -> AsyncIterator[Mapping[str, Handler]]:
    ours = load_settings(
        DATABASE_URL=settings.database_url, WORKFLOW_LLM_BASE_URL=f"{target.url}/v1", WORKFLOW_LLM_MODEL="small",
        AGENT_MESH_URL=target.url, AGENT_BRAIN_URL=target.url,
    )  # fmt: skip
    target.answers["/v1/chat/completions"] = Answer(
        {
            "model": "small-2",
            "choices": [{"message": {"role": "assistant", "content": "Four."}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7},
        }
    )
    target.answers["/api/v1/agents/processor"] = Answer({"name": "processor"})
    target.answers["/api/v1/agents/processor/execute"] = Answer({"output": 1})
    target.answers["/good"] = Answer({})
    target.answers["/bad"] = Answer({}, 503)
    async with make_http_client(ours) as http, Connections({}) as connections:
        yield builtin_handlers(ours, http=http, connections=connections)


@pytest.fixture
def run(spans: Spans, store: Store, engine: Engine, start_worker: StartWorker, builtin: Mapping[str, Handler]) -> Run:
    """Start a workflow in a trace, let a worker run it to its end, write what the leader writes; gives its id."""

    async def run(
        *steps: Mapping[str, Any], traceparent: str | None, handles: Mapping[str, Handle] = {}, name: str = "flow"
    ) -> str:
        leader = Traces(store, spans)
        document = {"name": name, "steps": list(steps)}
        definition = compile_definition(document, task_types={*builtin, *handles})
        await store.definitions.register(definition)
        (started,), _ = await store.workflows.start([WorkflowStart(name, traceparent=traceparent)])
        async with start_worker({**builtin, **handles}):
            await engine.ended(str(started.id))
        await leader.sweep_once()
        return str(started.id)

    return run


def collected(collector: Collector, trace_id: str, count: int) -> list[CollectedSpan]:
    """The spans of a trace, once so many of them have come."""
    eventually(
        lambda: len(collector.of(trace_id)) >= count,
        message=f"{[span.name for span in collector.of(trace_id)]}, not {count}",
    )
    return collector.of(trace_id)


def caller(number: int, flags: str = "01") -> tuple[str, str]:
    """A trace of its own for a test, and its traceparent."""
    trace_id = f"{TRACE}{number:02x}"
    return trace_id, f"00-{trace_id}-{SPAN}-{flags}"


def by_step(attempts: list[Attempt]) -> dict[tuple[str, int], str]:
    return {(a.step, a.attempt): names.attempt_span_id(a.task_id, a.attempt) for a in attempts}


async def test_a_workflow_is_a_span_of_its_callers_trace_with_a_child_for_each_attempt(
    run: Run, store: Store, collector: Collector
) -> None:
    trace_id, traceparent = caller(1)
    workflow = await run(
        {"id": "a", "type": "noop"},
        {"id": "b", "type": "noop", "depends_on": ["a"], "when": "steps.a.status == 'succeeded'"},
        traceparent=traceparent,
    )

    found = {span.name if span.name == "flow" else span.attributes["workflow.step.id"]: span
             for span in collected(collector, trace_id, 3)}  # fmt: skip

    root, a, b = found["flow"], found["a"], found["b"]
    ids = by_step(await store.history.attempts(workflow))
    assert (root.parent_id, root.span_id) == (SPAN, names.root_span_id(workflow))
    assert (root.kind, root.status, root.attributes["workflow.status"]) == ("INTERNAL", "OK", "succeeded")
    assert [(span.parent_id, span.span_id) for span in (a, b)] == [
        (root.span_id, ids["a", 1]), (root.span_id, ids["b", 1])
    ]  # fmt: skip
    assert (a.name, a.kind, a.status, a.service) == ("process noop", "CONSUMER", "OK", "workflow-workers")
    assert {
        "workflow.id": workflow, "workflow.name": "flow", "workflow.version": 1, "workflow.task.type": "noop",
        "workflow.attempt": 1, "workflow.attempt.outcome": "succeeded", "messaging.system": "workflow_engine",
        "messaging.destination.name": "default", "messaging.operation.type": "process",
    }.items() <= a.attributes.items()  # fmt: skip
    assert b.links == [(a.span_id, {"workflow.link": "dependency"})], "b comes after a, whose result it has seen"
    assert root.start <= a.start <= a.end <= root.end or abs(root.start - a.start) < 1e9


async def test_without_a_caller_the_trace_has_the_id_of_the_workflow(
    run: Run, store: Store, collector: Collector
) -> None:
    workflow = await run({"id": "a", "type": "noop"}, traceparent=None)
    root, attempt = sorted(collected(collector, workflow.replace("-", ""), 2), key=lambda span: span.name != "flow")
    assert root.parent_id is None
    assert attempt.parent_id == root.span_id


async def test_each_attempt_of_a_task_is_a_span_that_links_to_the_one_before(
    run: Run, store: Store, collector: Collector
) -> None:
    async def flaky(inputs: dict[str, Any], ctx: TaskContext) -> None:
        if ctx.attempt == 1:
            raise TaskError("user.again", "Not yet.")

    trace_id, traceparent = caller(2)
    retries = {"max_attempts": 2, "initial_delay": "10ms"}
    workflow = await run(
        {"id": "a", "type": "flaky", "retries": retries}, traceparent=traceparent, handles={"flaky": flaky}
    )

    first, second = (span for span in collected(collector, trace_id, 3) if span.name == "process flaky")

    ids = by_step(await store.history.attempts(workflow))
    assert (first.span_id, second.span_id) == (ids["a", 1], ids["a", 2])
    assert (first.status, first.message, first.attributes["error.type"]) == ("ERROR", "Not yet.", "user.again")
    assert first.events == [("exception", {"exception.type": "user.again", "exception.message": "Not yet."})]
    assert first.attributes["workflow.attempt.outcome"] == "retried"
    assert (second.status, second.links) == ("OK", [(first.span_id, {"workflow.link": "previous_attempt"})])
    assert first.parent_id == second.parent_id == names.root_span_id(workflow)


async def test_whom_a_step_asks_is_told_the_span_of_the_call(run: Run, target: Target, collector: Collector) -> None:
    trace_id, traceparent = caller(3)
    await run(
        {"id": "good", "type": "http", "url": f"{target.url}/good?token=hush"},
        {"id": "bad", "type": "http", "url": f"{target.url}/bad", "retries": 0, "depends_on": ["good"]},
        traceparent=traceparent,
    )

    spans = collected(collector, trace_id, 5)

    attempts = {span.attributes["workflow.step.id"]: span for span in spans if span.kind == "CONSUMER"}
    good, bad = (span for span in spans if span.kind == "CLIENT")
    assert [r.headers["traceparent"] for r in target.received] == [
        f"00-{trace_id}-{call.span_id}-01" for call in (good, bad)
    ]
    assert [good.parent_id, bad.parent_id] == [attempts["good"].span_id, attempts["bad"].span_id]
    address = {"server.address": "127.0.0.1", "server.port": int(target.url.rpartition(":")[2])}
    assert good.attributes == {"http.request.method": "GET", "http.response.status_code": 200, **address}
    assert (good.name, good.status, bad.status, bad.attributes["error.type"]) == ("GET", "UNSET", "ERROR", "503")
    assert "hush" not in str(spans), "what a URL holds behind the host may be a secret"


async def test_models_and_agents_are_called_by_the_names_of_the_genai_conventions(
    run: Run, target: Target, collector: Collector
) -> None:
    trace_id, traceparent = caller(4)
    await run(
        {"id": "ask", "type": "llm_inference", "prompt": "2 + 2, says nobody?"},
        {"id": "process", "type": "agent", "agent": "processor", "depends_on": ["ask"]},
        traceparent=traceparent,
    )

    spans = collected(collector, trace_id, 8)

    chat = next(span for span in spans if span.name == "chat small")
    port = int(target.url.rpartition(":")[2])
    assert chat.kind == "CLIENT"
    assert chat.attributes == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "small",
        "gen_ai.response.model": "small-2", "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 11, "gen_ai.usage.output_tokens": 7,
        "server.address": "127.0.0.1", "server.port": port,
    }  # fmt: skip
    agent = next(span for span in spans if span.name == "invoke_agent processor")
    assert agent.attributes == {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "processor"}
    calls = {span.span_id: span for span in spans if span.name in ("GET", "POST")}
    assert [r.headers["traceparent"][36:52] for r in target.received] == list(calls)
    assert [call.parent_id for call in calls.values()] == [chat.span_id, agent.span_id, agent.span_id]
    assert "says nobody" not in str(spans)
    assert "Four." not in str(spans)


async def test_what_a_handler_traces_itself_is_part_of_its_attempt(run: Run, collector: Collector) -> None:
    def sync(inputs: dict[str, Any], ctx: TaskContext) -> str | None:
        with trace.get_tracer("mine").start_as_current_span("thumbnail") as span:
            span.set_attribute("file", "cat.png")
        trace.get_current_span().set_attribute("mine", True)
        return ctx.traceparent

    threads = Threads(1)
    trace_id, traceparent = caller(5)
    await run({"id": "a", "type": "sync"}, traceparent=traceparent, handles={"sync": as_handle(sync, threads)})
    threads.close()

    found = {span.name: span for span in collected(collector, trace_id, 3)}

    assert found["thumbnail"].parent_id == found["process sync"].span_id
    assert found["process sync"].attributes["mine"] is True


async def test_a_child_workflow_is_below_the_attempt_that_started_it(
    run: Run, store: Store, collector: Collector
) -> None:
    trace_id, traceparent = caller(6)
    child = {"name": "small", "steps": [{"id": "x", "type": "noop"}]}
    await run({"id": "call", "type": "workflow", "definition": child}, traceparent=traceparent, name="large")

    found = collected(collector, trace_id, 5)  # two workflows, two attempts of `call`, one of `x`

    small = next(span for span in found if span.name == "small")
    calls = {span.attributes["workflow.attempt"]: span for span in found if span.name == "process workflow"}
    assert small.parent_id == calls[1].span_id
    assert calls[1].attributes["workflow.attempt.outcome"] == "waiting"
    assert next(span for span in found if span.name == "process noop").parent_id == small.span_id


async def test_a_trace_that_its_caller_does_not_record_is_handed_on_and_not_sent(
    run: Run, target: Target, collector: Collector
) -> None:
    trace_id, traceparent = caller(7, flags="00")
    step = {"id": "a", "type": "http", "url": f"{target.url}/good"}
    workflow = await run(step, traceparent=traceparent)
    other, recorded = caller(8)
    await run(step, traceparent=recorded)
    collected(collector, other, 3)
    assert collector.of(trace_id) == []
    assert collector.of(workflow.replace("-", "")) == []
    assert target.received[0].headers["traceparent"].startswith(f"00-{trace_id}-")
    assert target.received[0].headers["traceparent"].endswith("-00")


async def test_no_secret_that_the_process_knows_leaves_in_a_span(run: Run, collector: Collector) -> None:
    async def tells(inputs: dict[str, Any], ctx: TaskContext) -> None:
        with trace.get_tracer("mine").start_as_current_span(f"asks with {SECRET}") as span:
            span.set_attribute("header", f"Bearer {SECRET}")
            raise ValueError(f"refused: {SECRET}")

    concealed.conceal(SECRET)
    trace_id, traceparent = caller(9)
    await run({"id": "a", "type": "tells", "retries": 0}, traceparent=traceparent, handles={"tells": tells})
    spans = collected(collector, trace_id, 3)
    assert any("refused: " in span.message for span in spans)
    assert SECRET.encode() not in b"".join(collector.bodies)


async def test_an_attempt_that_nobody_came_back_from_is_written_by_the_leader(
    spans: Spans, store: Store, engine: Engine, start_worker: StartWorker, collector: Collector
) -> None:
    async def hang(inputs: dict[str, Any], ctx: TaskContext) -> None:
        await asyncio.Event().wait()

    leader = Traces(store, spans)
    async with start_worker({"hang": hang}) as worker:
        workflow = await engine.start({"name": "cancelled", "steps": [{"id": "a", "type": "hang"}]})

        async def runs() -> bool:
            return (await store.workflows.tasks(workflow))[0].status == "running"

        await eventually_async(runs)
        await store.control.cancel(workflow, reason="not needed")
        await leader.sweep_once()

    root, attempt = sorted(collected(collector, workflow.replace("-", ""), 2), key=lambda span: span.parent_id or "")

    ids = by_step(await store.history.attempts(workflow))
    assert (root.name, root.status, root.attributes["workflow.status"]) == ("cancelled", "UNSET", "cancelled")
    assert (attempt.name, attempt.kind, attempt.span_id) == ("process hang", "CONSUMER", ids["a", 1])
    assert attempt.parent_id == root.span_id
    facts = {"workflow.attempt.outcome": "cancelled", "workflow.step.id": "a", "workflow.worker": worker.name}
    assert facts.items() <= attempt.attributes.items()
    await leader.sweep_once()
    assert len(collector.of(workflow.replace("-", ""))) == 2, "its worker, which was told to stop it, wrote none"


def test_workflows_are_sampled_at_the_rate_that_was_asked_for_and_by_all_processes_alike(settings: Settings) -> None:
    with psycopg.connect(settings.database_url) as connection:
        ids = [str(id) for (id,) in connection.execute("select workflow.new_id() from generate_series(1, 2000)")]
    end = {"name": "flow", "version": 1, "traceparent": None, "again": None, "status": "succeeded", "error": None,
           "started_at": "2026-01-31T12:00:00+00:00", "ended_at": "2026-01-31T12:00:01+00:00"}  # fmt: skip
    written = []
    for _ in range(2):
        sink = InMemorySpanExporter()
        process = Spans(sink, ParentBasedTraceIdRatio(0.25), Resource.create())
        for id in ids:
            process.workflow({**end, "workflow_id": id})
        process.close()
        written.append({span.context.trace_id for span in sink.get_finished_spans()})
    assert written[0] == written[1]
    assert 400 < len(written[0]) < 600


async def test_a_collector_that_refuses_or_is_away_costs_spans_and_nothing_else(
    run: Run, collector: Collector, store: Store
) -> None:
    failed = _counted("failed")
    collector.status = 400
    try:
        workflow = await run({"id": "a", "type": "noop"}, traceparent=None)
        eventually(lambda: _counted("failed") >= failed + 2)
    finally:
        collector.status = 200
    assert (await store.workflows.get(workflow)).status == "succeeded"
    assert collector.of(workflow.replace("-", "")) == []
    other = await run({"id": "a", "type": "noop"}, traceparent=None)
    assert len(collected(collector, other.replace("-", ""), 2)) == 2


def _counted(result: str) -> float:
    return REGISTRY.get_sample_value("workflow_spans_total", {"result": result}) or 0.0


def test_secrets_of_the_collector_are_credentials() -> None:
    settings = load_settings(OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20abcdefgh,x=1")
    assert "Bearer abcdefgh" in settings.credentials
    assert "abcdefgh" in settings.credentials
    assert "abcdefgh" not in repr(settings)
    assert os.environ.get("OTEL_EXPORTER_OTLP_HEADERS") is None
