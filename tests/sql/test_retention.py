"""Retention: ended workflows are deleted with everything of theirs when their time is over, so many at a time."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from .engine import Engine

SOURCE = Path(__file__).parents[2] / "sql" / "functions" / "retention.sql"
DAY = 86400.0


def ended(engine: Engine, how: str = "succeeded", name: str = "flow", **fields: Any) -> UUID:
    workflow = engine.start(name, **fields)
    if how == "cancelled":
        engine.cancel(workflow)
    else:
        (claim,) = engine.claim()
        engine.finish(claim.succeeded() if how == "succeeded" else claim.failed())
    return workflow


def sweep(engine: Engine, defaults: Mapping[str, float] = {}) -> int:
    """Sweep until there is no more; returns how many workflows were deleted."""
    deleted, more = 0, True
    while more:
        found = engine.value("select workflow.sweep_retention(%s)", Jsonb(dict(defaults)))
        deleted, more = deleted + found["deleted"], found["more"]
    return deleted


def sweep_some(engine: Engine, defaults: Mapping[str, float], **bounds: int) -> dict[str, Any]:
    named = "".join(f", p_{name} => {bound}" for name, bound in bounds.items())
    found: dict[str, Any] = engine.value(f"select workflow.sweep_retention(%s{named})", Jsonb(dict(defaults)))
    return found


def left(engine: Engine) -> list[UUID]:
    return [row["id"] for row in engine.rows("select id from workflow.workflows order by id")]


def test_by_default_everything_is_kept(engine: Engine) -> None:
    engine.define({"a": []})
    ended(engine)
    engine.set_clock("1000 days")
    assert sweep(engine) == 0


@pytest.mark.parametrize(
    ("retention", "defaults", "after_two_days", "after_ten"),
    [
        ({"succeeded": DAY, "failed": 7 * DAY, "cancelled": None}, {}, ["failed", "cancelled"], []),
        ({"succeeded": DAY}, {"failed": 30 * DAY}, ["failed", "cancelled"], ["failed", "cancelled"]),
        (None, {"succeeded": DAY}, ["failed", "cancelled"], ["failed", "cancelled"]),
        ({"succeeded": 30 * DAY}, {"succeeded": DAY, "failed": DAY}, ["succeeded"], ["succeeded"]),
        ({"failed": 30 * DAY, "cancelled": DAY}, {}, ["succeeded", "failed"], ["succeeded", "failed"]),
    ],
)
def test_how_long_is_said_by_the_definition_else_by_the_settings(
    engine: Engine, retention: Any, defaults: dict[str, float], after_two_days: list[str], after_ten: list[str]
) -> None:
    engine.define({"a": []}, plan={"retention": retention} if retention else {})
    for how in ("succeeded", "failed", "cancelled"):
        ended(engine, how)
    engine.start()
    for days, expected in ((2, after_two_days), (10, after_ten)):
        engine.set_clock(f"{days} days")
        sweep(engine, defaults)
        found = engine.rows("select status from workflow.workflows order by created_at, id")
        assert [row["status"] for row in found] == [*expected, "pending"]


def test_everything_of_a_workflow_goes_with_it(engine: Engine) -> None:
    engine.define(
        {"a": {"locks": ["ledger"]}, "b": ["a"]},
        plan={
            "retention": {"succeeded": DAY},
            "budget": {"steps": {"hard": 10}},
            "idempotency": {"key": [{"text": "k"}], "on_conflict": "return_existing", "ttl": 1000 * DAY},
        },
    )
    workflow = engine.start()
    (claim,) = engine.claim()
    engine.finish({**claim.succeeded(), "record": {"x": 1}, "logs": [{"message": "hello"}]})
    engine.finish(*(c.succeeded() for c in engine.claim()))
    tables = [
        (row["table_name"], row["column_name"])
        for row in engine.rows(
            "select c.table_name, c.column_name from information_schema.columns c"
            " join information_schema.tables t using (table_schema, table_name)"
            " where table_schema = 'workflow' and table_type = 'BASE TABLE'"
            " and not (quote_ident(table_schema) || '.' || quote_ident(table_name))::regclass::oid = any("
            "array(select oid from pg_class where relispartition))"
            " and column_name in ('workflow_id', 'task_id')"
            " and table_name <> 'audit'"  # who did what to it is kept for its own time
        )
    ]
    function = SOURCE.read_text()
    missing = {name for name, _ in tables if not re.search(rf"delete from workflow\.{name} ", function)}
    assert missing == set(), "retention.sql knows all tables that belong to workflows"
    engine.set_clock("2 days")
    assert sweep(engine) == 1
    assert left(engine) == []
    for name, _ in tables:
        assert engine.rows(f"select * from workflow.{name}") == [], name
    assert engine.start() != workflow


def test_a_child_is_kept_as_long_as_the_workflow_at_the_top(engine: Engine) -> None:
    engine.define({"a": []}, name="child", plan={"retention": {"succeeded": DAY}})
    engine.define({"a": []}, plan={"retention": {"succeeded": 5 * DAY}})
    parent = ended(engine)
    child = ended(engine, name="child", parent_id=str(parent), root_id=str(parent))
    engine.set_clock("2 days")
    sweep(engine)
    assert left(engine) == [parent, child]
    engine.set_clock("6 days")
    assert sweep(engine) == 2
    assert left(engine) == []


def test_a_sweep_looks_at_and_deletes_so_many_and_the_next_goes_on(engine: Engine) -> None:
    engine.define({"a": []})
    workflows = [ended(engine) for _ in range(5)]
    workflows.sort()
    engine.set_clock("2 days")
    keep = {"succeeded": DAY + 1, "failed": 300 * DAY}
    assert sweep_some(engine, keep, look=10, limit=2) == {"deleted": 2, "seen": 5, "more": True}
    assert sweep_some(engine, keep, look=10, rows=1) == {"deleted": 1, "seen": 3, "more": True}
    assert sweep_some(engine, keep, look=1) == {"deleted": 1, "seen": 1, "more": True}
    assert left(engine) == workflows[4:]
    assert sweep(engine, keep) == 1


def test_what_is_kept_is_not_looked_at_before_something_of_it_is_due(engine: Engine) -> None:
    engine.define({"a": []})
    for _ in range(3):
        ended(engine, "failed")
    live = engine.start()
    engine.set_clock("2 days")
    keep = {"succeeded": DAY, "failed": 9 * DAY}
    assert [sweep_some(engine, keep)["seen"] for _ in range(5)][-1] == 0
    engine.set_clock("8 days")
    assert sweep(engine, keep) == 0, "the live one may have ended meanwhile"
    engine.set_clock("10 days")
    assert sweep(engine, keep) == 3
    assert left(engine) == [live]
    assert sweep_some(engine, {"succeeded": 1})["seen"] == 1, "with other settings all are looked at anew"


def test_of_many_that_are_kept_so_many_are_visited_and_then_none(engine: Engine) -> None:
    """However many there are: here 20,000."""
    engine.define({"a": []})
    visited = "select idx_tup_fetch + seq_tup_read from pg_stat_xact_all_tables where relname = 'workflows'"
    keep = {"succeeded": DAY, "failed": 1000 * DAY}
    engine.set_clock("2 days")
    with engine.transaction():
        engine.run(
            "insert into workflow.workflows"
            " (id, version_id, name, version, status, open_tasks, created_at, finished_at)"
            " select workflow.new_id(), v.id, v.name, 1, 'failed', 0, now(), now()"
            " from generate_series(1, 20000), workflow.definition_versions v"
        )
        seen = []
        more = True
        while more:
            before = engine.value(visited)
            found = sweep_some(engine, keep, look=5000)
            assert engine.value(visited) - before < 5100
            more = found["more"]
            seen.append(found["seen"])
        assert sum(seen) == 20_000
        before = engine.value(visited)
        sweep_some(engine, keep)
        assert engine.value(visited) - before < 10
        raise psycopg.Rollback


def test_an_engine_of_the_version_before_sweeps_as_it_knows_it(engine: Engine) -> None:
    engine.define({"a": []}, plan={"retention": {"succeeded": DAY}})
    ended(engine)
    engine.set_clock("2 days")
    assert engine.value("select workflow.sweep_ended(null, '{}')") == {"deleted": 1, "last": None}


def test_one_that_somebody_works_on_is_left_for_later(engine: Engine, other: Engine) -> None:
    engine.define({"a": []})
    workflow = ended(engine, "failed")
    engine.set_clock("2 days")
    with other.transaction():
        other.value("select id from workflow.workflows where id = %s for no key update", workflow)
        assert sweep(engine, {"failed": DAY}) == 0
    engine.set_clock("3 days")
    assert sweep(engine, {"failed": DAY}) == 0, "first those that came since"
    assert sweep(engine, {"failed": DAY}) == 1
