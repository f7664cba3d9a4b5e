"""How many statements the hot routes send to Postgres, so that they cannot grow unnoticed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import psycopg
import pytest
from support.eventually import eventually
from support.wire import Wire

from workflow_engine.api.joined_starts import JoinedStarts
from workflow_engine.errors import DefinitionNotFound, EngineError
from workflow_engine.records import StartedWorkflow, WorkflowStart
from workflow_engine.store.pool import Pool
from workflow_engine.store.store import Store

from .conftest import PlayedWorker, engine_settings, running_engine

DOCUMENT: dict[str, Any] = {"name": "one", "input_schema": {"type": "object"}, "steps": [{"id": "a", "type": "noop"}]}
START = "select workflow.start_many("
LOOKS = ("workflow.end_of_events()", "jsonb_build_array(w.status", "workflow.workflow_log")
LEAD = 0x776F726B6C656164  # the lock of the leader


@pytest.fixture
def wire(database_url: str) -> Iterator[Wire]:
    with Wire(database_url) as wire:
        yield wire


@pytest.fixture
def api(wire: Wire, database_url: str, redis_url: str) -> Iterator[httpx.Client]:
    """An engine that never leads, so that its pool serves requests alone."""
    with psycopg.connect(database_url, autocommit=True) as leader:
        leader.execute("select pg_advisory_lock(%s)", [LEAD])
        with running_engine(engine_settings(wire.url, redis_url)) as client:
            client.post("/api/v1/workflows", json=DOCUMENT).raise_for_status()
            client.post("/api/v1/workflows", json={"name": "one"}).raise_for_status()  # it is remembered now
            yield client


@pytest.fixture
def sent(wire: Wire) -> Callable[[Callable[[], httpx.Response]], list[str]]:
    """The statements that a request takes."""

    def of(request: Callable[[], httpx.Response]) -> list[str]:
        before = len(wire.statements)
        request().raise_for_status()
        # The names of task types are read every two seconds, and the engine tells of itself, whoever asks.
        return [
            text
            for name, text in wire.statements[before:]
            if name == "workflow-engine api" and "task_types" not in text and "note_engine" not in text
        ]

    return of


def test_starting_and_reading_take_one_statement_each(
    api: httpx.Client, sent: Callable[[Callable[[], httpx.Response]], list[str]]
) -> None:
    path = "/api/v1/workflows"
    by_name = {"name": "one", "input": {"x": 1}}
    one = api.get(path).json()[0]["id"]

    for start in (
        lambda: api.post(path, json=by_name),
        lambda: api.post(path, json=by_name | {"version": 1}),
        lambda: api.post(path, json=DOCUMENT | {"input": {}}),
        lambda: api.post(path, json=by_name, headers={"Idempotency-Key": "k"}),
        lambda: api.post(f"{path}/batch", json=[by_name] * 20 + [DOCUMENT] * 20),
    ):
        start()  # the first with a version asks which one that is
        # Redis may be late on a busy machine, and then Postgres is asked in its place.
        (statement,) = min((sent(start) for _ in range(3)), key=len)
        assert statement.startswith(START)
    for read in (lambda: api.get(f"{path}/{one}"), lambda: api.get(path)):
        assert len(sent(read)) == 1
    found = sent(lambda: api.get(f"{path}?label.a=b"))
    walked = [text for text in found if text not in ("BEGIN", "COMMIT") and "set_config" not in text]
    assert len(walked) == 2, "whether all were looked at that might meet it, too"


def test_what_is_done_to_many_is_written_to_the_audit_log_in_one_statement(api: httpx.Client, wire: Wire) -> None:
    path = "/api/v1/workflows"
    api.post(f"{path}/batch", json=[{"name": "one"}] * 30).raise_for_status()
    before = len(wire.statements)
    api.post(f"{path}/bulk/cancel?name=one").raise_for_status()
    statements = [text for _, text in wire.statements[before:]]
    assert sum("workflow.cancel(" in text for text in statements) > 30
    assert sum("workflow.add_audit(" in text for text in statements) == 1
    rows = api.get("/api/v1/audit?operation=workflows_cancel_many").json()
    assert len({row["workflow_id"] for row in rows}) == len(rows) > 30


def test_waiting_takes_one_to_start_one_to_read_and_looks_ever_more_rarely(
    api: httpx.Client, worker: PlayedWorker, sent: Callable[[Callable[[], httpx.Response]], list[str]]
) -> None:
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            worker.run_all()

    playing = threading.Thread(target=work)
    playing.start()
    try:
        statements = sent(lambda: api.post("/api/v1/workflows?wait=30s", json={"name": "one"}))
    finally:
        over.set()
        playing.join()

    looks = [text for text in statements[1:-1] if "jsonb_object_agg(id, status)" in text]
    assert statements[0].startswith(START)
    assert "workflow.workflow_list" in statements[-1]
    assert len(statements) == 2 + len(looks)

    in_vain = sent(lambda: api.post("/api/v1/workflows?wait=1s", json={"name": "one"}))
    assert 2 <= len(in_vain) <= 10


async def test_starts_of_the_same_moment_share_a_statement_and_none_fails_for_another(
    api: httpx.Client, wire: Wire
) -> None:
    pool = Pool(wire.url, name="together")
    await pool.open()
    try:
        joined = JoinedStarts(Store(pool).workflows)

        async def start(name: str) -> StartedWorkflow | EngineError:
            try:
                return await joined.start(WorkflowStart(name), DOCUMENT)
            except EngineError as error:
                return error

        started = await asyncio.gather(*(start("one") for _ in range(20)))
        assert len({one.id for one in started if isinstance(one, StartedWorkflow)}) == 20
        assert [text.startswith(START) for name, text in wire.statements if name == "together"] == [True]

        *others, absent = await asyncio.gather(*(start(name) for name in ("one", "one", "absent")))
        assert all(isinstance(other, StartedWorkflow) for other in others)
        assert isinstance(absent, DefinitionNotFound)
    finally:
        await pool.close()
    assert len(eventually(lambda: api.get("/api/v1/workflows").json())) == 2 + 20 + 2


async def test_who_may_keep_others_waiting_starts_alone(api: httpx.Client, wire: Wire) -> None:
    pool = Pool(wire.url, name="alone")
    await pool.open()
    try:
        joined = JoinedStarts(Store(pool).workflows)
        ruled = DOCUMENT | {"idempotency": {"key": "${ input.x }"}}
        long = DOCUMENT | {"steps": [{"id": f"s{n}", "type": "noop"} for n in range(101)]}
        large = WorkflowStart("one", input={"x": "x" * 20_000})
        await asyncio.gather(
            *(joined.start(WorkflowStart("one"), document) for document in (ruled, ruled, long, long)),
            *(joined.start(large, DOCUMENT) for _ in range(2)),
        )
    finally:
        await pool.close()
    assert [text.startswith(START) for name, text in wire.statements if name == "alone"] == [True] * 6


def test_who_follows_shares_two_questions_and_reads_only_what_is_new(
    api: httpx.Client, wire: Wire, worker: PlayedWorker
) -> None:
    """However many follow: one question after the end of all events, and where it has moved one after all of theirs."""
    ids = [api.post("/api/v1/workflows", json={"name": "one"}).json()["id"] for _ in range(8)]

    def sent(part: str) -> int:
        return sum(part in text for _, text in wire.statements)

    with ExitStack() as stack:
        lines = [stack.enter_context(api.stream("GET", f"/api/v1/workflows/{id_}/events")).iter_lines() for id_ in ids]
        for each in lines:
            assert "workflow.created" in next(line for line in each if line.startswith("data: "))
        looks, asked, read = (sent(part) for part in LOOKS)
        eventually(lambda: sent(LOOKS[0]) >= looks + 4)
        assert (sent(LOOKS[1]), sent(LOOKS[2])) == (asked, read), "nothing has happened"

        api.post(f"/api/v1/workflows/{ids[3]}/cancel").raise_for_status()
        assert "cancelled" in list(lines[3])[-2]
        assert sent(LOOKS[2]) == read + 1, "one of them has something to read"
        assert sent(LOOKS[1]) - asked <= 2
