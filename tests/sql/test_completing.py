"""How attempts end: every legal arrow, the fence against all others, and the counts that retry policies read."""

from typing import Any

import psycopg
import pytest

from .engine import Claim, Completion, Engine, error_document


def only(engine: Engine) -> Claim:
    """The claim of a fresh workflow with the one step `a`."""
    engine.define({"a": []})
    engine.start()
    return engine.claim_one()


# Legal arrows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "status", "workflow_status"),
    [("succeeded", "succeeded", "succeeded"), ("failed", "failed", "failed"), ("skipped", "skipped", "succeeded")],
)
def test_running_task_ends_as_its_worker_says(engine: Engine, outcome: str, status: str, workflow_status: str) -> None:
    claim = only(engine)
    assert engine.tasks(claim.workflow) == {"a": "running"}
    assert engine.finish(getattr(claim, outcome)()) == []
    task = engine.task(claim.workflow, "a")
    assert task["status"] == status
    assert task["lease_token"] is None
    assert engine.outcomes(claim.workflow, "a") == [outcome]
    assert engine.status(claim.workflow) == workflow_status
    assert engine.events(claim.workflow) == [
        "workflow.created", "workflow.started", "task.started", f"task.{outcome}", f"workflow.{workflow_status}",
    ]  # fmt: skip
    assert engine.jobs() == []


def test_retried_task_is_scheduled_then_pending_then_running_again(engine: Engine) -> None:
    claim = only(engine)
    engine.finish(claim.retried(delay=60))
    task = engine.task(claim.workflow, "a")
    assert task["status"] == "scheduled"
    assert task["error"]["type"] == "test.again"
    assert engine.claim() == []
    engine.set_clock("61 seconds")
    assert engine.wake_due() == 1
    assert engine.task(claim.workflow, "a")["status"] == "pending"
    again = engine.claim_one()
    assert (again.task_id, again.attempt) == (claim.task_id, 2)
    assert engine.task(claim.workflow, "a")["error"] is None, "the error of the attempt before is history"
    engine.finish(again.succeeded())
    assert engine.outcomes(claim.workflow, "a") == ["retried", "succeeded"]


def test_released_task_is_pending_and_costs_no_try(engine: Engine) -> None:
    claim = only(engine)
    engine.finish(claim.released())
    assert engine.tasks(claim.workflow) == {"a": "pending"}
    again = engine.claim_one()
    assert (again.attempt, again.raw["tries"]) == (2, 0)
    engine.finish(again.succeeded())


def test_each_attempt_is_a_new_job_and_a_new_token(engine: Engine) -> None:
    claim = only(engine)
    first = engine.jobs()
    engine.finish(claim.released())
    again = engine.claim_one()
    second = engine.jobs()
    assert len(first) == len(second) == 1
    assert first[0]["id"] != second[0]["id"]
    assert claim.token != again.token


def test_output_of_a_success_is_kept_and_none_is_null(engine: Engine) -> None:
    engine.define({"a": [], "b": []})
    workflow = engine.start()
    a, b = sorted(engine.claim(), key=lambda c: c.step)
    engine.finish(a.succeeded({"rows": 3}), b.succeeded())
    assert engine.task(workflow, "a")["output"] == {"rows": 3}
    assert engine.value("select output::text from workflow.tasks where id = %s", b.task_id) == "null"


def test_record_is_stored_with_the_success_and_only_with_it(engine: Engine) -> None:
    engine.define({"a": [], "b": []})
    engine.start()
    a, b = sorted(engine.claim(), key=lambda c: c.step)
    engine.finish(a.succeeded(record={"n": 1}), b.skipped() | {"record": {"n": 2}})
    assert [(r["step"], r["data"]) for r in engine.rows("select * from workflow.records")] == [("a", {"n": 1})]


def test_failure_without_an_error_still_fails_the_workflow(engine: Engine) -> None:
    claim = only(engine)
    engine.finish(claim.failed() | {"error": None})
    workflow = engine.workflow(claim.workflow)
    assert workflow["status"] == "failed"
    assert workflow["error"]["step"] == "a"


# The fence ------------------------------------------------------------------------------------------------------------


def test_completion_with_a_foreign_token_is_stale_and_changes_nothing(engine: Engine) -> None:
    claim = only(engine)
    before = engine.snapshot()
    forged = claim.succeeded() | {"lease_token": "00000000-0000-4000-8000-000000000000"}
    assert engine.finish(forged) == [0]
    assert engine.snapshot() == before


@pytest.mark.parametrize("attempt", [0, 2])
def test_completion_of_another_attempt_is_stale_and_changes_nothing(engine: Engine, attempt: int) -> None:
    claim = only(engine)
    before = engine.snapshot()
    assert engine.finish(claim.succeeded() | {"attempt": attempt}) == [0]
    assert engine.snapshot() == before


def test_late_completion_of_an_earlier_attempt_is_stale(engine: Engine) -> None:
    first = only(engine)
    engine.finish(first.released())
    second = engine.claim_one()
    before = engine.snapshot()
    assert engine.finish(first.succeeded("late")) == [0]
    assert engine.snapshot() == before
    assert engine.finish(second.succeeded("right")) == []
    assert engine.task(first.workflow, "a")["output"] == "right"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_attempts_of_one_task_in_one_batch_keep_their_verdicts_apart(
    engine: Engine, order: tuple[int, int]
) -> None:
    first = only(engine)
    engine.finish(first.released())
    second = engine.claim_one()
    batch = [first.succeeded("late"), second.succeeded("right")]
    stale = engine.finish(*(batch[i] for i in order))
    assert stale == [order.index(0)]
    assert engine.outcomes(first.workflow, "a") == ["released", "succeeded"]
    assert engine.task(first.workflow, "a")["output"] == "right"


def test_completion_twice_in_one_batch_is_recorded_once(engine: Engine) -> None:
    claim = only(engine)
    assert engine.finish(claim.succeeded(1), claim.succeeded(1)) == []
    assert engine.outcomes(claim.workflow, "a") == ["succeeded"]


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "retried", "skipped", "released"])
def test_repeated_completion_after_an_ambiguous_commit_is_not_stale_and_changes_nothing(
    engine: Engine, outcome: str
) -> None:
    claim = only(engine)
    completion = getattr(claim, outcome)()
    engine.finish(completion)
    before = engine.snapshot()
    assert engine.finish(completion) == []
    assert engine.snapshot() == before


def test_other_outcome_for_an_attempt_that_ended_is_stale(engine: Engine) -> None:
    claim = only(engine)
    engine.finish(claim.succeeded())
    assert engine.finish(claim.failed()) == [0]
    assert engine.status(claim.workflow) == "succeeded"


def test_completion_after_cancel_is_stale(engine: Engine) -> None:
    claim = only(engine)
    engine.cancel(claim.workflow)
    before = engine.snapshot()
    assert engine.finish(claim.succeeded()) == [0]
    assert engine.snapshot() == before


def test_completion_after_its_lease_was_swept_is_stale(engine: Engine) -> None:
    claim = only(engine)
    engine.set_clock("31 seconds")
    assert engine.sweep_expired_leases() == (1, 0)
    before = engine.snapshot()
    assert engine.finish(claim.succeeded()) == [0]
    assert engine.snapshot() == before


def test_completion_of_an_unknown_task_is_stale(engine: Engine) -> None:
    claim = only(engine)
    assert engine.finish(claim.succeeded() | {"task_id": 1}, claim.succeeded()) == [0]


def test_stale_completions_are_named_among_accepted_ones(engine: Engine) -> None:
    engine.define({"a": [], "b": [], "c": []})
    engine.start()
    a, b, c = engine.claim()
    stale = b.succeeded() | {"attempt": 9}
    assert engine.finish(a.succeeded(), stale, c.succeeded()) == [1]
    engine.finish(b.succeeded())


def test_expired_lease_that_nobody_swept_still_counts(engine: Engine) -> None:
    claim = only(engine)
    engine.set_clock("1 hour")
    assert engine.finish(claim.succeeded()) == []


# Illegal arrows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["blocked", "pending", "scheduled", "succeeded", "failed", "skipped", "cancelled"])
def test_only_a_running_task_can_end_an_attempt(engine: Engine, status: str) -> None:
    engine.define({"a": [], "b": ["a"], "z": []}, fail_fast=False)
    workflow = engine.start()
    a = engine.claim_one("a")
    match status:
        case "pending":
            engine.finish(a.released())
        case "scheduled":
            engine.finish(a.retried(60))
        case "cancelled":
            engine.cancel(workflow)
        case "blocked":
            pass
        case _:
            engine.finish(getattr(a, status)())
    step = "b" if status == "blocked" else "a"
    task = engine.task(workflow, step)
    assert task["status"] == status
    before = engine.snapshot()
    for outcome in ("succeeded", "failed", "retried", "skipped", "released", "lost"):
        if engine.outcomes(workflow, step) == [outcome]:
            continue  # a repetition, not an arrow
        completion = a.succeeded() | {"task_id": task["id"], "outcome": outcome}
        assert engine.finish(completion) == [0]
    assert engine.snapshot() == before


@pytest.mark.parametrize(
    "poison",
    [
        {"outcome": "exploded"},
        {"outcome": None},
        {"outcome": "retried", "delay": 1e300},
    ],
    ids=["unknown outcome", "no outcome", "endless delay"],
)
def test_unfit_completion_is_refused_and_changes_nothing(engine: Engine, poison: Completion) -> None:
    claim = only(engine)
    before = engine.snapshot()
    with pytest.raises((psycopg.DataError, psycopg.IntegrityError)):
        engine.finish(claim.succeeded() | poison)
    assert engine.snapshot() == before


@pytest.mark.parametrize("text", ['"\\u0000"', "NaN", "{"])
def test_output_that_is_not_json_for_postgres_is_refused_and_changes_nothing(engine: Engine, text: str) -> None:
    claim = only(engine)
    before = engine.snapshot()
    document = f'[{{"task_id": {claim.task_id}, "attempt": 1, "lease_token": "{claim.token}",'
    with pytest.raises(psycopg.DataError):
        engine.value(
            "select workflow.take_turn(%s, %s::text::jsonb, '{}', '{}', 0, 30)",
            engine.worker_id,
            f'{document} "outcome": "succeeded", "output": {text}}}]',
        )
    assert engine.snapshot() == before


# Counts for the retry policy ------------------------------------------------------------------------------------------


def test_tries_count_what_the_handler_did_and_crashes_what_was_lost(engine: Engine) -> None:
    claim = only(engine)
    seen: list[tuple[int, int]] = []

    def again() -> Claim:
        claim = engine.claim_one()
        seen.append((claim.attempt, claim.raw["tries"]))
        return claim

    engine.finish(claim.retried())
    engine.wake_due()
    engine.finish(again().released())
    again()
    engine.set_clock("31 seconds")
    engine.sweep_expired_leases()
    engine.finish(again().retried())
    engine.wake_due()
    engine.finish(again().succeeded())
    assert seen == [(2, 1), (3, 1), (4, 1), (5, 2)]
    task = engine.task(claim.workflow, "a")
    assert (task["attempt"], task["tries"], task["crashes"]) == (5, 3, 1)
    assert engine.outcomes(claim.workflow, "a") == ["retried", "released", "lost", "retried", "succeeded"]


def test_elapsed_time_counts_from_the_first_attempt(engine: Engine) -> None:
    claim = only(engine)
    assert claim.raw["elapsed_seconds"] == 0
    engine.finish(claim.retried(delay=60))
    engine.set_clock("100 seconds")
    engine.wake_due()
    again = engine.claim_one()
    assert again.raw["elapsed_seconds"] == pytest.approx(100, abs=5)
    assert again.raw["wait_seconds"] == pytest.approx(40, abs=5)
    engine.finish(again.succeeded())


def test_attempts_are_in_order_of_time_though_the_clock_steps_back(engine: Engine) -> None:
    claim = only(engine)
    engine.set_clock("-1 hour")
    engine.finish(claim.released())
    engine.finish(engine.claim_one().succeeded())
    for row in engine.rows("select * from workflow.attempts"):
        assert row["pending_since"] <= row["started_at"] <= row["ended_at"]


# What a claim hands over ----------------------------------------------------------------------------------------------


def claim_of_reader(engine: Engine, spec: dict[str, Any], **ends: Completion | str) -> dict[str, Any]:
    """Plays the steps named in `ends` and returns what the claim of `reader` shows."""
    engine.define(spec, fail_fast=False)
    engine.start(input={"x": 1})
    for step, outcome in ends.items():
        claim = engine.claim_one(step)
        engine.finish(getattr(claim, str(outcome))())
    raw: dict[str, Any] = engine.claim_one("reader").raw
    return raw


def test_claim_shows_the_results_of_the_steps_it_refers_to_and_no_others(engine: Engine) -> None:
    raw = claim_of_reader(
        engine,
        {
            "ok": [],
            "bad": {"tolerated": True},
            "off": [],
            "unread": [],
            "reader": {"after": ["ok", "bad", "off", "unread"], "refs": ["ok", "bad", "off"]},
        },
        ok="succeeded", bad="failed", off="skipped", unread="succeeded",
    )  # fmt: skip
    steps = raw["steps"]
    assert set(steps) == {"ok", "bad", "off"}
    assert steps["ok"]["status"] == "succeeded"
    assert steps["ok"]["output"] is None
    assert "error" not in steps["ok"], "what a step has not got is absent"
    assert "output" not in steps["bad"]
    assert steps["bad"]["error"] == error_document("test.failed", steps["bad"]["attempt"])
    assert "output" not in steps["off"]
    assert raw["input"] is None


def test_claim_shows_the_input_where_the_step_uses_it(engine: Engine) -> None:
    raw = claim_of_reader(engine, {"reader": {"uses_input": True}})
    assert raw["input"] == {"x": 1}
    assert raw["steps"] is None


def test_timeout_of_the_task_type_is_handed_over_and_an_override_is_marked(engine: Engine) -> None:
    claim = only(engine)
    assert claim.raw["timeout"] is None
    engine.run("update workflow.task_types set timeout = 7 where name = 'noop'")
    engine.finish(claim.released())
    again = engine.claim_one()
    assert (again.raw["timeout"], again.raw["timeout_is_override"]) == (7, False)
    engine.run("update workflow.tasks set timeout_override = 90")
    engine.finish(again.released())
    overridden = engine.claim_one()
    assert (overridden.raw["timeout"], overridden.raw["timeout_is_override"]) == (90, True)
    engine.finish(overridden.succeeded())
