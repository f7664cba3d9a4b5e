"""Schedules: each due time is answered once, whoever asks; what is in force is the version that starts."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from .engine import Engine

DUE = datetime(2026, 1, 31, 6, tzinfo=UTC)
DAY = timedelta(days=1)


def entry(**fields: Any) -> dict[str, Any]:
    return {"cron": "0 6 * * *", "timezone": "UTC", "overlap": "skip", "catchup": "latest", "input": None, **fields}


def define(engine: Engine, *entries: Mapping[str, Any], **plan: Any) -> int:
    return engine.define({"a": []}, plan={"schedule": list(entries), **plan})


def schedules(engine: Engine) -> list[dict[str, Any]]:
    return engine.rows("select * from workflow.schedules order by name, position")


def answer(
    engine: Engine,
    expected: datetime | None,
    *times: datetime,
    next_at: datetime | None = None,
    missed: int = 0,
    cron: str = "0 6 * * *",
) -> dict[str, Any]:
    found: dict[str, Any] = engine.value(
        "select workflow.answer_schedule('flow', 0, %s, 'UTC', %s, %s::timestamptz[], %s, %s)",
        cron, expected, list(times), next_at, missed,
    )  # fmt: skip
    return found


def started(engine: Engine) -> list[str]:
    """For which due times there are workflows, oldest first."""
    return [
        row["at"]
        for row in engine.rows(
            "select labels ->> 'scheduled_for' as at from workflow.workflows order by created_at, id"
        )
    ]


def test_a_registered_schedule_is_in_force_and_waits_to_be_worked_out(engine: Engine) -> None:
    define(engine, entry(), entry(cron="0 18 * * *", overlap="queue"))
    found = schedules(engine)
    assert [(s["position"], s["cron"], s["overlap"], s["next_at"]) for s in found] == [
        (0, "0 6 * * *", "skip", None),
        (1, "0 18 * * *", "queue", None),
    ]
    due = engine.value("select workflow.due_schedules()")
    assert [(s["name"], s["position"]) for s in due["schedules"]] == [("flow", 0), ("flow", 1)]


def test_a_due_time_is_answered_once(engine: Engine) -> None:
    define(engine, entry(input={"x": 1}))
    assert answer(engine, None, next_at=DUE) == {
        "answered": True, "started": [], "skipped": 0, "failed": 0, "error": None,
    }  # fmt: skip
    first = answer(engine, DUE, DUE, next_at=DUE + DAY)
    assert answer(engine, DUE, DUE, next_at=DUE + DAY)["answered"] is False
    assert started(engine) == ["2026-01-31T06:00:00Z"]
    workflow = UUID(first["started"][0])
    assert engine.workflow(workflow)["input"] == {"x": 1}
    (schedule,) = schedules(engine)
    assert (schedule["next_at"], schedule["last_at"], schedule["last_workflow_id"]) == (DUE + DAY, DUE, workflow)
    assert (schedule["started"], schedule["skipped"], schedule["missed"]) == (1, 0, 0)


def test_of_many_leaders_at_once_one_answers(engine: Engine, connect: Callable[[], Engine]) -> None:
    define(engine, entry(overlap="allow"))
    answer(engine, None, next_at=DUE)
    leaders = [connect() for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda e: answer(e, DUE, DUE, next_at=DUE + DAY), leaders))
    assert sorted(a["answered"] for a in answers) == [False] * 5 + [True]
    assert started(engine) == ["2026-01-31T06:00:00Z"]


def test_a_rolled_back_answer_leaves_the_due_time_to_the_next_leader(engine: Engine, other: Engine) -> None:
    define(engine, entry())
    answer(engine, None, next_at=DUE)
    with engine.transaction():
        answer(engine, DUE, DUE, next_at=DUE + DAY)
        raise psycopg.Rollback
    assert answer(other, DUE, DUE, next_at=DUE + DAY)["answered"] is True


@pytest.mark.parametrize(
    ("overlap", "statuses", "skipped"),
    [
        ("skip", ["pending"], 1),
        ("queue", ["pending", "pending"], 0),
        ("cancel_running", ["cancelled", "pending"], 0),
        ("allow", ["pending", "pending"], 0),
    ],
)
def test_what_happens_when_the_workflow_before_has_not_ended(
    engine: Engine, overlap: str, statuses: list[str], skipped: int
) -> None:
    define(engine, entry(overlap=overlap))
    answer(engine, None, next_at=DUE)
    answer(engine, DUE, DUE, next_at=DUE + DAY)
    assert answer(engine, DUE + DAY, DUE + DAY, next_at=DUE + 2 * DAY)["skipped"] == skipped
    assert [
        r["status"] for r in engine.rows("select status from workflow.workflows order by created_at, id")
    ] == statuses
    held = engine.value("select count(*) from workflow.workflows where queued_at is not null and finished_at is null")
    assert held == (overlap == "queue")
    engine.finish(*(c.succeeded() for c in engine.claim()))
    engine.finish(*(c.succeeded() for c in engine.claim()))
    answer(engine, DUE + 2 * DAY, DUE + 2 * DAY, next_at=DUE + 3 * DAY)
    assert started(engine)[-1] == "2026-02-02T06:00:00Z"


def test_workflows_that_somebody_else_started_do_not_count_as_overlap(engine: Engine) -> None:
    define(engine, entry())
    engine.start()
    answer(engine, None, next_at=DUE)
    assert len(answer(engine, DUE, DUE)["started"]) == 1


def test_a_start_that_is_refused_is_noted_and_the_schedule_goes_on(engine: Engine) -> None:
    define(engine, entry(), idempotency={"key": [{"path": ["input", "x"]}], "on_conflict": "reject", "ttl": 1})
    answer(engine, None, next_at=DUE)
    found = answer(engine, DUE, DUE, next_at=DUE + DAY)
    assert (found["answered"], found["failed"], "input.x" in found["error"]) == (True, 1, True)
    (schedule,) = schedules(engine)
    assert (schedule["next_at"], schedule["last_error"]) == (DUE + DAY, found["error"])


def test_a_paused_engine_leaves_the_due_time_for_later(engine: Engine) -> None:
    define(engine, entry())
    answer(engine, None, next_at=DUE)
    engine.pause()
    with pytest.raises(psycopg.Error) as error:
        answer(engine, DUE, DUE, next_at=DUE + DAY)
    assert error.value.sqlstate == "WF503"
    engine.resume()
    assert answer(engine, DUE, DUE, next_at=DUE + DAY)["answered"] is True


def test_a_paused_schedule_starts_nothing_and_what_was_due_meanwhile_is_not_made_up_for(engine: Engine) -> None:
    define(engine, entry())
    answer(engine, None, next_at=DUE)
    engine.run("select workflow.pause_schedule('flow')")
    assert answer(engine, DUE, DUE)["answered"] is False
    assert engine.value("select workflow.due_schedules()")["schedules"] == []
    engine.run("select workflow.resume_schedule('flow')")
    (schedule,) = schedules(engine)
    assert (schedule["next_at"], schedule["paused_at"]) == (None, None)
    assert schedule["since"] > DUE


def test_a_new_version_replaces_the_schedule_and_keeps_what_is_the_same(engine: Engine) -> None:
    define(engine, entry(), entry(cron="0 7 * * *"))
    answer(engine, None, next_at=DUE)
    engine.run("select workflow.pause_schedule('flow')")
    define(engine, entry(overlap="queue"), entry(cron="0 8 * * *"), entry(cron="0 9 * * *"))
    found = schedules(engine)
    assert [(s["cron"], s["overlap"], s["next_at"]) for s in found] == [
        ("0 6 * * *", "queue", DUE), ("0 8 * * *", "skip", None), ("0 9 * * *", "skip", None),
    ]  # fmt: skip
    assert all(s["paused_at"] for s in found), "a new version does not end the pause"
    define(engine)
    assert schedules(engine) == []


def test_in_force_is_the_version_that_starts(engine: Engine) -> None:
    define(engine, entry())
    define(engine, entry(cron="0 7 * * *"))
    engine.pin_definition("flow", 1)
    assert [s["cron"] for s in schedules(engine)] == ["0 6 * * *"]
    engine.pin_definition("flow", None)
    assert [s["cron"] for s in schedules(engine)] == ["0 7 * * *"]


def test_a_deleted_definition_has_no_schedule_until_it_is_registered_again(engine: Engine) -> None:
    define(engine, entry())
    answer(engine, None, next_at=DUE)
    engine.run("select workflow.disable_definition('flow')")
    assert schedules(engine) == []
    assert answer(engine, DUE, DUE)["answered"] is False
    define(engine, entry())
    assert [s["next_at"] for s in schedules(engine)] == [None]


def test_an_answer_that_was_worked_out_by_another_expression_changes_nothing(engine: Engine) -> None:
    define(engine, entry(cron="0 7 * * *"))
    assert answer(engine, None, next_at=DUE)["answered"] is False


def test_a_backfill_starts_what_the_schedule_has_not_one_after_the_other(engine: Engine) -> None:
    define(engine, entry())
    answer(engine, None, next_at=DUE)
    answer(engine, DUE, DUE, next_at=DUE + DAY)
    engine.finish(*(c.succeeded() for c in engine.claim()))
    times = Jsonb([{"position": 0, "at": (DUE + n * DAY).isoformat()} for n in (-1, 0, 1)])
    found = engine.value("select workflow.backfill_schedule('flow', %s)", times)
    assert [(s["scheduled_for"], s.get("existing", False)) for s in found] == [
        ("2026-01-30T06:00:00Z", False), ("2026-01-31T06:00:00Z", True), ("2026-02-01T06:00:00Z", False),
    ]  # fmt: skip
    assert len(engine.entered("@schedule flow")) == len(engine.queued("@schedule flow")) == 1
    answer(engine, DUE + DAY, DUE + DAY, next_at=DUE + 2 * DAY)
    assert len(started(engine)) == 3, "the schedule does not start again what was backfilled"


def test_run_starts_one_now_and_leaves_the_due_times_alone(engine: Engine) -> None:
    define(engine, entry(input={"x": 1}))
    found = engine.value("select workflow.run_schedule('flow')")
    assert engine.workflow(found["id"])["input"] == {"x": 1}
    assert schedules(engine)[0]["next_at"] is None


@pytest.mark.parametrize(
    "call", ["pause_schedule('x')", "resume_schedule('x')", "run_schedule('x')", "backfill_schedule('x', '[]')"]
)
def test_what_has_no_schedule_is_told_so(engine: Engine, call: str) -> None:
    with pytest.raises(psycopg.Error) as error:
        engine.value(f"select workflow.{call}")
    assert (error.value.sqlstate, error.value.diag.message_detail) == ("WF404", "schedule-not-found")
