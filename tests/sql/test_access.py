"""Keys of the API, the audit log, and who started a workflow."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from .engine import Engine

ID = "k3v9x0q2m7ap"
OTHER = "abcdefgh0123"


@pytest.fixture(autouse=True)
def _without_keys(engine: Engine) -> None:
    engine.run("delete from workflow.api_keys")


def create(engine: Engine, id: str = ID, name: str = "ann", **more: Any) -> Any:
    values = {"p_roles": ["viewer"], "p_groups": [], "p_hash": bytes(32), **more}
    named = ", ".join(f"{parameter} => %s" for parameter in values)
    return engine.value(f"select workflow.create_api_key(%s, %s, {named})", id, name, *values.values())


def found(engine: Engine, id: str = ID) -> dict[str, Any]:
    (row,) = engine.rows("select * from workflow.find_api_keys(%s)", [id])
    return row


def status(engine: Engine, id: str = ID) -> str:
    return str(engine.value("select status from workflow.api_key_list where id = %s", id))


def told(engine: Engine) -> list[tuple[str, str]]:
    rows = engine.rows("select operation, key_id from workflow.audit where method = 'SQL' order by id desc limit 3")
    return [(row["operation"], row["key_id"]) for row in rows]


def test_a_key_is_found_until_it_expires(engine: Engine) -> None:
    expires_at = create(engine, p_lifetime="1 day", p_groups=["finance"])
    key = found(engine)
    assert (key["name"], key["roles"], key["groups"], key["revoked"]) == ("ann", ["viewer"], ["finance"], False)
    assert (key["expires_at"], 86_000 < key["ends_in"] <= 86_400, status(engine)) == (expires_at, True, "active")
    engine.set_clock("25 hours")
    assert (found(engine)["ends_in"] < 0, status(engine)) == (True, "expired")
    assert engine.rows("select * from workflow.find_api_keys(%s)", [OTHER]) == []


def test_a_key_that_takes_the_place_of_another_leaves_it_good_for_a_while(engine: Engine) -> None:
    create(engine)
    create(engine, OTHER, p_replaces=ID, p_overlap="1 hour")
    assert (status(engine, ID), status(engine, OTHER)) == ("active", "active")
    assert told(engine)[:2] == [("key_created", OTHER), ("key_rotated", ID)]
    engine.set_clock("61 minutes")
    assert (status(engine, ID), status(engine, OTHER)) == ("expired", "active")
    with pytest.raises(psycopg.Error) as error:
        create(engine, "000000000000", p_replaces=ID)
    assert (error.value.sqlstate, error.value.diag.message_detail) == ("WF404", "not-found")
    assert engine.value("select count(*) from workflow.api_keys") == 2, "nothing was made"


def test_keys_are_revoked_by_id_or_all_of_a_name_and_once(engine: Engine) -> None:
    for number in range(3):
        create(engine, f"00000000000{number}", "ann" if number else "bob")
    revoke = "select id from workflow.revoke_api_keys(%s) order by id"
    assert [row["id"] for row in engine.rows(revoke, "000000000001")] == ["000000000001"]
    assert [row["id"] for row in engine.rows(revoke, "ann")] == ["000000000002"]
    assert engine.rows(revoke, "ann") == []
    assert [found(engine, f"00000000000{n}")["revoked"] for n in range(3)] == [False, True, True]
    assert told(engine)[0] == ("key_revoked", "000000000002")


@pytest.mark.parametrize(
    "wrong",
    [{"p_roles": []}, {"p_roles": ["root"]}, {"p_hash": bytes(31)}, {"name": "a b"}, {"name": ""}, {"id": "ABC"}],
    ids=str,
)
def test_a_key_that_makes_no_sense_is_not_made(engine: Engine, wrong: dict[str, Any]) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        create(engine, **wrong)


def test_that_a_key_is_used_is_noted_once_a_minute(engine: Engine) -> None:
    create(engine)
    used = "select last_used_at from workflow.api_keys"
    assert (found(engine)["used_lately"], engine.value(used)) == (False, None)
    engine.run("select workflow.note_api_key(%s)", ID)
    first = engine.value(used)
    engine.set_clock("50 seconds")
    engine.run("select workflow.note_api_key(%s)", ID)
    assert (found(engine)["used_lately"], engine.value(used)) == (True, first)
    engine.set_clock("61 seconds")
    assert not found(engine)["used_lately"]
    engine.run("select workflow.note_api_key(%s)", ID)
    assert engine.value(used) > first


def add(engine: Engine, *rows: dict[str, Any]) -> None:
    common = {"method": "POST", "path": "/x", "operation": "workflows_cancel", "status": 202, "times": 1, "age": 0}
    engine.run("select workflow.add_audit(%s)", Jsonb([{**common, **row} for row in rows]))


@pytest.mark.parametrize(
    "change",
    ["update workflow.audit set principal = 'bob'", "delete from workflow.audit", "truncate workflow.audit"],
)
def test_nobody_changes_the_audit_log(engine: Engine, change: str) -> None:
    add(engine, {"principal": "ann"})
    with pytest.raises(psycopg.Error) as error:
        engine.run(change)
    assert (error.value.sqlstate, "only added to" in str(error.value)) == ("WF409", True)
    engine.run("select workflow.sweep_audit('0')")
    add(engine, {"principal": "ann"})
    with pytest.raises(psycopg.Error):  # what the sweep may is not left open behind it
        engine.run(change)


def test_the_audit_log_keeps_the_time_of_what_was_written_late_and_is_swept_by_age(engine: Engine) -> None:
    engine.run("select workflow.sweep_audit('0', 1000000)")
    add(engine, {"age": 3600, "path": "/late"}, {"path": "/now", "times": 7})
    late, now = engine.rows("select path, times, clock_timestamp() - at as age from workflow.audit order by id")
    assert (late["path"], now["path"], now["times"]) == ("/late", "/now", 7)
    assert late["age"].total_seconds() >= 3600 > now["age"].total_seconds()
    assert engine.value("select workflow.sweep_audit('2 hours')") == 0
    assert engine.value("select workflow.sweep_audit('30 minutes')") == 1
    assert engine.value("select workflow.sweep_audit('0', 1)") == 1
    assert engine.value("select count(*) from workflow.audit") == 0


def test_a_sweep_of_a_long_audit_log_reads_what_it_deletes(engine: Engine) -> None:
    engine.run("select workflow.sweep_audit('0', 1000000)")
    for _ in range(8):  # Postgres keeps a plan from the sixth call on, of a table that is empty
        engine.run("select workflow.sweep_audit('0')")
    engine.run(
        "insert into workflow.audit (at, method, path, operation, status)"
        " select now() - interval '1 day', 'POST', '/x', 'workflows_create', 202 from generate_series(1, 20000)"
    )
    with engine.transaction():
        assert engine.value("select workflow.sweep_audit('1 hour', 100)") == 100
        visited = (
            "select seq_tup_read + idx_tup_fetch from pg_stat_xact_all_tables where relid = 'workflow.audit'::regclass"
        )
        assert engine.value(visited) <= 300
    with engine.transaction():
        assert engine.value("select workflow.sweep_audit('2 days', 100)") == 0
    engine.run("select workflow.sweep_audit('0', 1000000)")


def created_by(engine: Engine, workflow: Any) -> Any:
    return engine.value("select created_by from workflow.workflow_list where id = %s", workflow)


def test_a_workflow_says_who_started_it(engine: Engine) -> None:
    engine.define({"a": []})
    started = engine.start_many([{"name": "flow"}, {"name": "flow", "created_by": "bob"}], principal="ann")["started"]
    assert [created_by(engine, workflow["id"]) for workflow in started] == ["ann", "bob"]
    assert created_by(engine, engine.value("select workflow.start('flow')")) == "sql"
    (nobody,) = engine.start_many([{"name": "flow"}])["started"]
    assert created_by(engine, nobody["id"]) is None


def test_a_child_has_the_principal_of_its_parent_and_a_rerun_its_own(engine: Engine) -> None:
    engine.define({"a": []})
    (parent,) = engine.start_many([{"name": "flow"}], principal="ann")["started"]
    engine.finish(engine.claim_one().waiting("child", name="flow"))
    child = engine.value("select id from workflow.workflows where parent_id = %s", parent["id"])
    assert created_by(engine, child) == "ann"
    engine.cancel(parent["id"])
    again = engine.value("select workflow.rerun(%s, p_principal => 'bob') ->> 'id'", parent["id"])
    assert created_by(engine, again) == "bob"
