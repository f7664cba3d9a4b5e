"""What waits costs nothing: whatever is done visits the rows it is about, however many tasks are parked.

As in test_plans.py, the plans are those of empty tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from .engine import Claim, Engine
from .test_signals import take
from .visits import BIG_TABLES, rows_visited

TABLES = (*BIG_TABLES, "signals", "signal_waits", "approvals", "outbox", "scopes", "groups")
PARKED = 900  # a third of them of each kind
DAY = 86_400
BATCH = 20

visited = partial(rows_visited, tables=TABLES)


@pytest.fixture
def database(database_url: str) -> str:
    """Statistics and plans are those of this test alone."""
    return database_url


def ends(claim: Claim) -> dict[str, Any]:
    """By the input of its workflow: for what its step waits."""
    kind = claim.raw["input"]
    awaits: dict[str, dict[str, Any]] = {
        "timer": {"delay": DAY},
        "signal": {"name": "go", "deadline": DAY},
        "approval": {"deadline": DAY},
    }
    return claim.waiting(kind, **awaits[kind])


def park(engine: Engine, count: int) -> dict[str, list[UUID]]:
    started = {
        kind: [
            UUID(row["id"]) for row in engine.start_many([{"name": "flow", "input": kind}] * (count // 3))["started"]
        ]
        for kind in ("timer", "signal", "approval")
    }
    while claims := engine.claim(100):
        assert engine.finish(*(ends(c) for c in claims)) == []
    return started


@pytest.fixture
def parked(engine: Engine) -> Iterator[tuple[Engine, dict[str, list[UUID]]]]:
    """Thousands wait, and every function was called with the tables empty."""
    engine.leave_unanalysed(*TABLES)
    engine.define({"a": {"uses_input": True}, "b": ["a"]})
    engine.define({"e": []}, name="emitter")
    for _ in range(8):  # Postgres keeps a generic plan from the sixth call on
        found = park(engine, 6)
        answer_one(engine, found)
        engine.signal(found["signal"][0], "go")
        engine.start("emitter")
        for claim in engine.claim():
            signal = {"name": "go", "to": "signal", "workflow_id": str(found["signal"][1])}
            effects: dict[str, Any] = {"emit": signal} if claim.step == "e" else {}
            if claim.raw.get("resumed", {}).get("events"):
                effects = {"taken": [event["seq"] for event in claim.raw["resumed"]["events"]]}
            engine.finish(claim.succeeded(effects=effects))
        engine.deliver_signals()
        engine.take_webhooks()
        engine.set_clock("2 days")
        engine.wake_due()
        engine.finish(*(c.failed(effects={"expired": True}) for c in engine.claim()))
        engine.set_clock("0")
        engine.wake_due()
        engine.claim()
        engine.cancel(park(engine, 3)["signal"][0])
        engine.set_clock("2 days")
        while claims := engine.claim():
            engine.finish(*(c.skipped() for c in claims))
        engine.set_clock("0")
    yield engine, park(engine, PARKED)
    engine.run("analyze")


def answer_one(engine: Engine, found: dict[str, list[UUID]]) -> None:
    engine.answer(
        engine.value("select id from workflow.approvals where workflow_id = %s", found["approval"][0]), "approved"
    )


def test_what_wakes_one_of_many_that_wait_visits_its_rows(parked: tuple[Engine, dict[str, list[UUID]]]) -> None:
    engine, found = parked
    calls: list[Callable[[], object]] = [
        lambda: engine.signal(found["signal"][0], "go", 1, key="k"),
        lambda: engine.signal(found["signal"][0], "go", 1, key="k"),
        lambda: engine.signal(found["signal"][1], "other"),
        lambda: answer_one(engine, found),
        lambda: engine.cancel(found["signal"][2]),
        lambda: engine.cancel(found["approval"][2]),
        lambda: engine.cancel(found["timer"][2]),
    ]
    for call in calls:
        with visited(engine, 40):
            call()
    with visited(engine, 60):
        claims = engine.claim()
    assert {c.workflow for c in claims} == {found["signal"][0], found["approval"][0]}
    signalled = next(c for c in claims if c.workflow == found["signal"][0])
    with visited(engine, 60):
        assert engine.finish(take(signalled), *(c.succeeded() for c in claims if c is not signalled)) == []
    with visited(engine, 40):
        engine.signal(found["signal"][3], "go")
        assert len(engine.rows("select * from workflow.explain(%s)", found["signal"][4])) == 2


def test_turns_and_sweeps_pass_by_what_waits(parked: tuple[Engine, dict[str, list[UUID]]]) -> None:
    engine, _ = parked
    engine.start_many([{"name": "flow", "input": "timer"}] * BATCH)
    with visited(engine, 20 * BATCH):
        claims = engine.claim(BATCH)
    assert len(claims) == BATCH
    with visited(engine, 20 * BATCH):
        engine.turn([ends(c) for c in claims], want=BATCH)
    with visited(engine, 10):
        assert engine.claim() == []
    with visited(engine, 10):
        assert engine.sweep_held()["unparked"] == 0
    with visited(engine, 10):
        assert engine.sweep_expired_leases() == (0, 0)
    with visited(engine, 10):
        assert engine.orphans(scan=1) == {}


def test_due_ones_among_many_visit_what_is_due(parked: tuple[Engine, dict[str, list[UUID]]]) -> None:
    engine, found = parked
    engine.run(
        "update workflow.jobs set scheduled_at = workflow.clock() - interval '1 second'"
        " where id in (select t.job_id from workflow.tasks t where t.workflow_id = any(%s))",
        found["timer"][:BATCH],
    )
    with visited(engine, 20 * BATCH):
        woken = engine.wake_due(limit=BATCH)
    assert woken == BATCH


def test_a_signal_among_many_waits_for_the_same_name_visits_the_first(engine: Engine) -> None:
    engine.define({f"s{n}": [] for n in range(500)})
    workflow = engine.start()
    while claims := engine.claim(200):
        engine.finish(*(c.waiting("signal", name="go") for c in claims))
    for n in range(8):
        with visited(engine, 30):
            engine.signal(workflow, "go", n)
    assert len(engine.claim()) == 8
    engine.cancel(workflow)


def test_deliveries_visit_what_is_due_among_many(engine: Engine) -> None:
    engine.define({"e": []}, name="emitter")
    for _ in range(8):
        engine.deliver_signals()
        engine.take_webhooks()
    engine.run(
        "insert into workflow.outbox (id, workflow_id, task_id, name, kind, target, origin, status, created_at, due_at)"
        " select gen_random_uuid(), gen_random_uuid(), 1, 'go', k.kind, 'x', 'x', s.status, now(),"
        " now() + interval '1 hour'"
        " from generate_series(1, 1000), unnest(array['signal', 'webhook']) k(kind),"
        " unnest(array['pending', 'delivered', 'dead']) s(status)"
    )
    engine.run("update workflow.outbox set due_at = now() where id in (select id from workflow.outbox"
               " where status = 'pending' and kind = 'webhook' limit 5)")  # fmt: skip
    with visited(engine, 100):
        assert engine.deliver_signals()["delivered"] == 0
    with visited(engine, 100):
        assert len(engine.take_webhooks()) == 5
