"""A worker that writes no spans hands on the caller's trace, and its lines name it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from support.logging import configured_logging

from workflow_engine.definition.compile import compile_definition
from workflow_engine.handlers.base import Handle, TaskContext
from workflow_engine.handlers.builtin import make_http_client
from workflow_engine.handlers.http_client import build_request, exchange
from workflow_engine.maintenance.narrator import Narrator
from workflow_engine.records import WorkflowStart
from workflow_engine.settings import Settings, load_settings
from workflow_engine.store.store import Store

from ..handlers.target import Answer, Target
from .conftest import Engine, StartWorker

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"

Run: TypeAlias = Callable[..., Any]


@pytest.fixture
def target() -> Iterator[Target]:
    with Target() as target:
        yield target


@pytest.fixture
def run(store: Store, engine: Engine, start_worker: StartWorker) -> Run:
    """Start a workflow of one step, let a worker run it to its end; gives its id."""

    async def run(step: dict[str, Any], handle: Handle, *, traceparent: str | None = TRACEPARENT) -> str:
        type = step["definition"]["steps"][0]["type"] if "definition" in step else step["type"]
        definition = compile_definition({"name": "flow", "steps": [step]}, task_types={type})
        await store.definitions.register(definition)
        (started,), _ = await store.workflows.start([WorkflowStart("flow", traceparent=traceparent)])
        async with start_worker({type: handle}):
            await engine.ended(str(started.id))
        return str(started.id)

    return run


async def test_requests_handlers_and_children_have_the_callers_span(run: Run, target: Target) -> None:
    seen: list[str | None] = []

    async def asks(inputs: dict[str, Any], ctx: TaskContext) -> None:
        seen.append(ctx.traceparent)
        async with make_http_client(load_settings()) as http:
            await exchange(http, build_request(http, "GET", f"{target.url}/good"), max_bytes=1024)
            own = build_request(http, "GET", f"{target.url}/good", headers={"traceparent": "mine"})
            await exchange(http, own, max_bytes=1024)

    target.answers["/good"] = Answer({})
    child = {"name": "small", "steps": [{"id": "x", "type": "asks"}]}
    await run({"id": "call", "type": "workflow", "definition": child}, asks)
    assert seen == [TRACEPARENT]
    assert [r.headers.get("traceparent") for r in target.received] == [TRACEPARENT, "mine"]


async def test_without_a_trace_nothing_is_handed_on(run: Run, target: Target) -> None:
    seen: list[str | None] = []

    async def asks(inputs: dict[str, Any], ctx: TaskContext) -> None:
        seen.append(ctx.traceparent)
        async with make_http_client(load_settings()) as http:
            await exchange(http, build_request(http, "GET", f"{target.url}/good"), max_bytes=1024)

    target.answers["/good"] = Answer({})
    await run({"id": "a", "type": "asks"}, asks, traceparent=None)
    assert seen == [None]
    assert [r.headers.get("traceparent") for r in target.received] == [None]


@pytest.mark.parametrize("form", ["logfmt", "json"])
async def test_lines_of_workers_and_engines_name_the_trace(
    form: str, tmp_path: Path, settings: Settings, store: Store, run: Run
) -> None:
    async def tells(inputs: dict[str, Any], ctx: TaskContext) -> None:
        ctx.log.info("told by the handler")

    with configured_logging("worker", LOG_DIR=str(tmp_path), LOG_FORMAT=form):
        workflow = await run({"id": "a", "type": "tells"}, tells)
    with configured_logging("engine", LOG_DIR=str(tmp_path), LOG_FORMAT=form):
        await Narrator(settings, store).sweep_once()

    for file, wanted in (("worker.log", 3), ("tasks.log", 2), ("app.log", 3)):
        lines = [line for line in (tmp_path / file).read_text().splitlines() if workflow in line]
        assert len([line for line in lines if re.search(f'trace_id"?[=:]"?{TRACE}', line)]) == len(lines) == wanted
        if file != "app.log":
            assert all(SPAN in line for line in lines)
    lines = await store.history.log(workflow)
    assert "trace_id" not in str(lines), "what is known of the whole attempt is not repeated in what is stored"
