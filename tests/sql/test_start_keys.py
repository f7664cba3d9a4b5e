"""Idempotency that a definition asks for: its key, not the caller's, says which starts are one."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from .engine import Engine

KEY = [{"text": "order "}, {"path": ["input", "order"]}]


def idempotent(engine: Engine, on_conflict: str = "return_existing", ttl: float = 86400, key: Any = KEY) -> None:
    engine.define({"a": []}, plan={"idempotency": {"key": key, "on_conflict": on_conflict, "ttl": ttl}})


def test_a_start_with_a_key_that_was_used_is_the_start_that_was_made_then(engine: Engine) -> None:
    idempotent(engine)
    first = engine.start(input={"order": 7})
    (claim,) = engine.claim()
    engine.finish(claim.succeeded())
    answer = engine.start_many([{"name": "flow", "input": {"order": 7, "note": "again"}}])
    assert answer["started"] == [
        {"id": str(first), "name": "flow", "version": 1, "status": "succeeded", "existing": True}
    ]
    assert engine.start(input={"order": 8}) != first
    assert engine.value("select workflow.start('flow', '{\"order\": 7}')") == first


def test_a_batch_starts_each_key_once(engine: Engine) -> None:
    idempotent(engine)
    answer = engine.start_many([{"name": "flow", "input": {"order": n}} for n in (2, 1, 2)])
    ids = [s["id"] for s in answer["started"]]
    assert ids[0] == ids[2] != ids[1]
    assert [s.get("existing", False) for s in answer["started"]] == [False, False, True]
    assert engine.value("select count(*) from workflow.workflows") == 2


def test_reject_refuses_the_whole_batch_and_names_the_workflow(engine: Engine) -> None:
    idempotent(engine, "reject")
    first = engine.start(input={"order": 7})
    before = engine.snapshot()
    with pytest.raises(psycopg.Error, match="order 7") as error:
        engine.start_many([{"name": "flow", "input": {"order": n}} for n in (8, 7)])
    assert (error.value.sqlstate, error.value.diag.message_detail) == ("WF409", "already-started")
    assert error.value.diag.constraint_name == str(first)
    assert engine.snapshot() == before


def test_a_key_is_forgotten_after_its_time(engine: Engine) -> None:
    idempotent(engine, ttl=60)
    first = engine.start(input={"order": 7})
    engine.set_clock("59 seconds")
    assert engine.start(input={"order": 7}) == first
    engine.set_clock("61 seconds")
    second = engine.start(input={"order": 7})
    assert second != first
    assert engine.start(input={"order": 7}) == second
    engine.set_clock("1 hour")
    assert engine.sweep_retired() == 1
    assert engine.rows("select * from workflow.start_keys") == []


@pytest.mark.parametrize("input", [{}, {"order": None}, None, [1]])
def test_a_start_without_what_the_key_is_made_of_is_refused_by_name(engine: Engine, input: Any) -> None:
    idempotent(engine)
    with pytest.raises(psycopg.Error, match=r"no input\.order") as error:
        engine.start(input=input)
    assert (error.value.sqlstate, error.value.diag.message_detail) == ("WF422", "key-missing")


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        ([{"path": ["input", "a", "b"]}], "x"),
        ([{"path": ["input", "list", "1"]}], "2"),
        ([{"path": ["input", "a"]}], '{"b": "x"}'),
        ([{"path": ["vars", "region"]}, {"text": ":"}, {"path": ["workflow", "labels", "team"]}], "eu:red"),
        ([{"path": ["input", "yes"]}], "true"),
    ],
)
def test_keys_are_made_of_texts_input_constants_and_labels(engine: Engine, parts: Any, key: str) -> None:
    found = engine.value(
        "select workflow.render_key(%s, %s, %s, %s)",
        psycopg.types.json.Jsonb(parts),
        psycopg.types.json.Jsonb({"a": {"b": "x"}, "list": [1, 2], "yes": True}),
        psycopg.types.json.Jsonb({"region": "eu"}),
        psycopg.types.json.Jsonb({"team": "red"}),
    )
    assert found == key


def test_a_key_that_is_too_long_is_refused(engine: Engine) -> None:
    idempotent(engine)
    with pytest.raises(psycopg.Error, match="506 characters"):
        engine.start(input={"order": "x" * 500})


def test_of_many_starts_at_once_with_one_key_one_starts(engine: Engine, connect: Callable[[], Engine]) -> None:
    idempotent(engine)
    engines = [connect() for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(lambda e: e.start(input={"order": 7}), engines))
    assert len(set(ids)) == 1
    assert engine.value("select count(*) from workflow.workflows") == 1


def test_the_second_start_waits_for_the_first_and_starts_when_that_is_rolled_back(
    engine: Engine, other: Engine, blocked: Callable[..., "Future[Any]"]
) -> None:
    idempotent(engine, "reject")
    with engine.transaction():
        first = engine.start(input={"order": 7})
        second = blocked(other, lambda: other.start(input={"order": 7}))
        raise psycopg.Rollback
    assert second.result() != first
    assert engine.value("select count(*) from workflow.workflows") == 1


def test_batches_with_the_same_keys_in_other_orders_do_not_deadlock(engine: Engine, other: Engine) -> None:
    idempotent(engine)
    with ThreadPoolExecutor(2) as threads:
        for turn in range(10):
            orders = [100 * turn + n for n in range(50)]
            forth = threads.submit(engine.start_many, [{"name": "flow", "input": {"order": n}} for n in orders])
            back = threads.submit(other.start_many, [{"name": "flow", "input": {"order": n}} for n in orders[::-1]])
            ids = [s["id"] for s in forth.result()["started"]]
            assert [s["id"] for s in back.result()["started"]] == ids[::-1]


def test_a_parent_waits_for_the_child_that_was_started_with_the_same_key_before(engine: Engine) -> None:
    idempotent(engine)
    first = engine.start(input={"order": 7})
    engine.define({"call": []}, name="parent")
    parent = engine.start("parent")
    engine.finish(engine.claim_one("call").waiting("child", name="flow", input={"order": 7}))
    assert engine.value("select count(*) from workflow.workflows where name = 'flow'") == 1
    engine.finish(engine.claim_one("a").succeeded())
    assert engine.status(first) == "succeeded"
    engine.value("select workflow.sweep_children()")
    call = engine.claim_one("call")
    assert call.raw["resumed"]["workflow"]["id"] == str(first)
    engine.finish(call.succeeded())
    assert engine.status(parent) == "succeeded"
