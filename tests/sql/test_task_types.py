"""What operators set for a task type is used by the next claim."""

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from .engine import Engine


def update(engine: Engine, name: str, expected: Any = None, **patch: Any) -> dict[str, Any]:
    changed: dict[str, Any] = engine.value("select workflow.update_task_type(%s, %s, %s)", name, Jsonb(patch), expected)
    return changed


def row(engine: Engine, name: str = "noop") -> dict[str, Any]:
    return engine.rows("select * from workflow.task_types where name = %s", name)[0]


@pytest.fixture(autouse=True)
def _as_before(engine: Engine) -> Any:
    yield
    engine.run("update workflow.task_types set timeout = null, max_attempts = null,"
               " handler_timeout = null, handler_max_attempts = null")  # fmt: skip


def test_the_next_claim_also_of_a_pending_task_has_the_new_values(engine: Engine) -> None:
    engine.define({"a": []})
    engine.start()
    claim = engine.claim_one()
    assert (claim.raw["timeout"], claim.raw.get("max_attempts")) == (None, None)
    engine.finish(claim.released())

    update(engine, "noop", timeout=300, max_attempts=7)

    claim = engine.claim_one()
    assert (claim.raw["timeout"], claim.raw["max_attempts"]) == (300, 7)
    update(engine, "noop", timeout=None)
    assert (row(engine)["timeout"], row(engine)["max_attempts"]) == (None, 7)


def test_a_patch_that_changes_nothing_leaves_the_row(engine: Engine) -> None:
    update(engine, "noop", timeout=5)
    before = row(engine)
    for patch in ({}, {"timeout": 5}, {"max_attempts": None}):
        changed = update(engine, "noop", **patch)
        assert changed["before"] == changed["after"]
        assert row(engine) == before


def test_a_change_since_it_was_read_is_refused(engine: Engine) -> None:
    read = row(engine)["updated_at"]
    update(engine, "noop", read, timeout=1)
    with pytest.raises(psycopg.Error) as refused:
        update(engine, "noop", read, timeout=2)
    assert (refused.value.sqlstate, refused.value.diag.message_detail) == ("WF412", "precondition-failed")
    assert row(engine)["timeout"] == 1


def test_an_unknown_type_is_answered_with_the_known_ones(engine: Engine) -> None:
    with pytest.raises(psycopg.Error) as refused:
        update(engine, "lmm", timeout=1)
    assert (refused.value.sqlstate, refused.value.diag.message_detail) == ("WF404", "task-type-not-found")
    assert "llm_inference" in (refused.value.diag.message_hint or "")


def test_two_that_read_the_same_state_cannot_both_change_it(engine: Engine, other: Engine, blocked: Any) -> None:
    read = row(engine)["updated_at"]
    with engine.transaction():
        update(engine, "noop", read, timeout=1)
        waiting = blocked(other, lambda: update(other, "noop", read, timeout=2))
    with pytest.raises(psycopg.Error, match="has been changed since"):
        waiting.result()


def test_registering_notes_what_handlers_ask_for_and_keeps_what_operators_set(engine: Engine) -> None:
    update(engine, "noop", timeout=9)
    before = row(engine)["updated_at"]
    engine.register()
    assert row(engine)["updated_at"] == before
    engine.value(
        "select workflow.register_worker('w', 'h', 1, '1', '{default}', %s, 1, 10, null)",
        Jsonb([{"name": "noop", "timeout": 20, "max_attempts": 4}]),
    )
    known = row(engine)
    assert (known["timeout"], known["handler_timeout"], known["handler_max_attempts"]) == (9, 20, 4)
    assert known["updated_at"] > before


def changes(engine: Engine, name: str = "noop") -> list[dict[str, Any]]:
    return engine.rows("select at, by, changes from workflow.task_type_changes where name = %s order by at", name)


def test_who_changed_what_is_kept_with_the_change(engine: Engine) -> None:
    engine.value(
        "select workflow.update_task_type('noop', %s, null, 'ann')", Jsonb({"timeout": 300, "max_attempts": 2})
    )
    update(engine, "noop", timeout=None, description="Joins")
    update(engine, "noop", timeout=None)
    first, second = changes(engine)
    assert (first["by"], first["changes"]) == (
        "ann",
        {"timeout": {"before": None, "after": 300}, "max_attempts": {"before": None, "after": 2}},
    )
    assert (second["by"], set(second["changes"])) == (None, {"timeout", "description"})
    assert second["at"] == row(engine)["updated_at"]
    update(engine, "noop", description="Does nothing: a join point")


def test_the_last_hundred_changes_of_a_type_are_kept(engine: Engine) -> None:
    update(engine, "http", timeout=1)
    for seconds in range(1, 104):
        update(engine, "noop", timeout=seconds)
    kept = changes(engine)
    assert [kept[0]["changes"]["timeout"]["after"], len(kept)] == [4, 100]
    assert len(changes(engine, "http")) == 1
