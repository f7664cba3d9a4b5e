"""How workflows end: the output step, compensations, on_failure, on_exit, and what ends them before they are done."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any
from uuid import UUID

import pytest

from .engine import Claim, Engine
from .nested import define, step


def claim_only(engine: Engine, name: str) -> Claim:
    claims = engine.claim()
    assert [c.step for c in claims] == [name]
    return claims[0]


def run(engine: Engine, name: str, *, fails: bool = False, output: Any = None) -> Claim:
    """Claim what there is, which is one task of that name, and end it."""
    claim = claim_only(engine, name)
    engine.finish(claim.failed() if fails else claim.succeeded(output))
    return claim


def ending(engine: Engine, workflow: UUID) -> str | None:
    found: str | None = engine.workflow(workflow)["ending"]
    return found


HANDLERS = {
    "on_failure": step(kind="on_failure"),
    "on_exit": step(kind="on_exit"),
}


def test_the_output_is_what_its_step_renders(engine: Engine) -> None:
    define(engine, {"a": step(), "output": step(kind="output")})
    workflow = engine.start()
    run(engine, "a", output=1)
    assert (engine.status(workflow), ending(engine, workflow)) == ("running", "succeeded")
    assert engine.workflow(workflow)["output"] is None
    run(engine, "output", output={"answer": 42})
    assert engine.status(workflow) == "succeeded"
    assert engine.workflow(workflow)["output"] == {"answer": 42}
    assert engine.events(workflow)[-3:] == ["task.started", "task.succeeded", "workflow.succeeded"]


def test_an_output_may_be_null(engine: Engine) -> None:
    define(engine, {"a": step(), "output": step(kind="output")})
    workflow = engine.start()
    run(engine, "a", output=1)
    run(engine, "output", output=None)
    assert engine.workflow(workflow)["output"] is None


def test_an_output_that_cannot_be_rendered_fails_the_workflow_and_its_handlers_run(engine: Engine) -> None:
    define(
        engine,
        {
            "a": step(compensation="a.compensate"),
            "a.compensate": step(kind="compensation"),
            "output": step(kind="output"),
            **HANDLERS,
        },
    )
    workflow = engine.start()
    run(engine, "a")
    run(engine, "output", fails=True)
    assert ending(engine, workflow) == "failed"
    for name in ("a.compensate", "on_failure", "on_exit"):
        run(engine, name)
    found = engine.workflow(workflow)
    assert (found["status"], found["error"]["step"]) == ("failed", "output")


def test_without_handlers_a_workflow_is_terminal_with_its_last_step(engine: Engine) -> None:
    define(engine, {"a": step()})
    workflow = engine.start()
    run(engine, "a")
    assert engine.status(workflow) == "succeeded"
    assert "workflow.ending" not in engine.events(workflow)


def test_steps_are_undone_in_reverse_order_of_completion_one_after_the_other(engine: Engine) -> None:
    define(
        engine,
        {
            "a": step(compensation="a.compensate"),
            "b": step(compensation="b.compensate"),
            "c": step(["a", "b"], compensation="c.compensate"),
            "d": step(["c"]),
            **{f"{name}.compensate": step(kind="compensation") for name in "abc"},
        },
    )
    workflow = engine.start()
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["b"].succeeded())
    engine.finish(claims["a"].succeeded())
    run(engine, "c")
    run(engine, "d", fails=True)
    assert (engine.status(workflow), ending(engine, workflow)) == ("running", "failed")
    for name in ("c.compensate", "a.compensate", "b.compensate"):
        assert engine.status(workflow) == "running"
        run(engine, name)
    assert engine.status(workflow) == "failed"


def test_what_did_not_succeed_is_not_undone(engine: Engine) -> None:
    define(
        engine,
        {"a": step(compensation="undo"), "undo": step(kind="compensation"), "on_exit": step(kind="on_exit")},
    )
    workflow = engine.start()
    run(engine, "a", fails=True)
    run(engine, "on_exit")
    assert engine.status(workflow) == "failed"


def test_a_compensation_that_fails_stops_neither_the_others_nor_the_handlers(engine: Engine) -> None:
    define(
        engine,
        {
            "a": step(compensation="a.compensate"),
            "b": step(["a"], compensation="b.compensate"),
            "c": step(["b"]),
            "a.compensate": step(kind="compensation"),
            "b.compensate": step(kind="compensation"),
            **HANDLERS,
        },
    )
    workflow = engine.start()
    run(engine, "a")
    run(engine, "b")
    run(engine, "c", fails=True)
    run(engine, "b.compensate", fails=True)
    run(engine, "a.compensate")
    run(engine, "on_failure")
    run(engine, "on_exit")
    found = engine.workflow(workflow)
    assert (found["status"], found["error"]["step"]) == ("failed", "c")
    assert engine.tasks(workflow)["b.compensate"] == "failed"


def test_compensations_are_retried_like_any_task(engine: Engine) -> None:
    define(engine, {"a": step(compensation="undo"), "b": step(["a"]), "undo": step(kind="compensation")})
    workflow = engine.start()
    run(engine, "a")
    run(engine, "b", fails=True)
    engine.finish(claim_only(engine, "undo").retried())
    engine.wake_due()
    run(engine, "undo")
    assert engine.status(workflow) == "failed"
    assert engine.outcomes(workflow, "undo") == ["retried", "succeeded"]


@pytest.mark.parametrize("fails", [False, True])
def test_on_failure_runs_only_for_a_failure_and_on_exit_always(engine: Engine, fails: bool) -> None:
    define(engine, {"a": step(), **HANDLERS})
    workflow = engine.start()
    run(engine, "a", fails=fails)
    if fails:
        run(engine, "on_failure")
    run(engine, "on_exit")
    assert engine.status(workflow) == ("failed" if fails else "succeeded")


def test_handlers_are_told_how_the_workflow_is_going_to_end(engine: Engine) -> None:
    define(engine, {"a": step(), **HANDLERS})
    engine.start()
    a = claim_only(engine, "a")
    assert not {"workflow_status", "workflow_error"} & set(a.raw)
    engine.finish(a.failed("http.500"))
    handler = claim_only(engine, "on_failure")
    assert handler.raw["workflow_status"] == "failed"
    assert handler.raw["workflow_error"]["type"] == "http.500"
    assert handler.raw["workflow_error"]["step"] == "a"


def test_a_failing_on_exit_fails_the_workflow(engine: Engine) -> None:
    define(engine, {"a": step(), **HANDLERS})
    workflow = engine.start()
    run(engine, "a")
    run(engine, "on_exit", fails=True)
    found = engine.workflow(workflow)
    assert (found["status"], found["error"]["step"]) == ("failed", "on_exit")


def test_a_failing_on_failure_keeps_the_first_error(engine: Engine) -> None:
    define(engine, {"a": step(), **HANDLERS})
    workflow = engine.start()
    run(engine, "a", fails=True)
    run(engine, "on_failure", fails=True)
    run(engine, "on_exit")
    assert engine.workflow(workflow)["error"]["step"] == "a"


def test_a_handler_may_have_steps_of_its_own(engine: Engine) -> None:
    define(
        engine,
        {"a": step(), "on_failure": step(kind="on_failure"), "on_exit": step(kind="on_exit")},
        {"on_failure": ("block", {"log": step(), "notify": step(["log"])}), "on_exit": ("block", {"clean": step()})},
    )
    workflow = engine.start()
    run(engine, "a", fails=True)
    engine.finish(claim_only(engine, "on_failure").opens(1))
    run(engine, "log")
    notify = claim_only(engine, "notify")
    assert notify.raw["workflow_status"] == "failed"
    engine.finish(notify.failed())  # fails the handler, and not the workflow at once
    assert engine.status(workflow) == "running"
    run(engine, "on_failure", fails=True)
    engine.finish(claim_only(engine, "on_exit").opens(2))
    run(engine, "clean")
    run(engine, "on_exit")
    assert engine.status(workflow) == "failed"


def test_what_succeeded_inside_scopes_is_undone_there(engine: Engine) -> None:
    define(
        engine,
        {"map": step(), "after": step(["map"])},
        {"map": ("item", {"charge": step(compensation="charge.compensate"),
                          "charge.compensate": step(kind="compensation")})},
    )  # fmt: skip
    workflow = engine.start()
    engine.finish(claim_only(engine, "map").opens(1, 3, tolerated=1))
    first, second, third = sorted(engine.claim(), key=lambda c: c.task_id)
    engine.finish(second.succeeded())
    engine.finish(first.failed())
    engine.finish(third.succeeded())
    run(engine, "map")
    run(engine, "after", fails=True)
    undone = [run(engine, "charge.compensate") for _ in range(2)]
    assert [u.task_id - 1 for u in undone] == [third.task_id, second.task_id]
    assert engine.status(workflow) == "failed"


def test_all_rounds_of_a_block_that_was_tried_again_are_undone(engine: Engine) -> None:
    define(
        engine,
        {"block": step()},
        {"block": ("block", {"charge": step(compensation="undo"), "undo": step(kind="compensation"),
                             "ship": step(["charge"])})},
    )  # fmt: skip
    workflow = engine.start()
    charged = []
    for again in (True, False):
        engine.finish(claim_only(engine, "block").opens(1))
        charged.append(run(engine, "charge").task_id)
        run(engine, "ship", fails=True)
        block = claim_only(engine, "block")
        engine.finish(block.retried() if again else block.failed())
        engine.wake_due()
    assert [run(engine, "undo").task_id - 1 for _ in charged] == charged[::-1]
    assert engine.status(workflow) == "failed"


def test_a_cancelled_workflow_undoes_and_exits_and_is_cancelled_then(engine: Engine) -> None:
    define(
        engine,
        {"a": step(compensation="undo"), "b": step(["a"]), "undo": step(kind="compensation"), **HANDLERS},
    )
    workflow = engine.start()
    run(engine, "a")
    b = claim_only(engine, "b")
    assert engine.cancel(workflow, "No longer needed.") == "running"
    assert (engine.status(workflow), ending(engine, workflow)) == ("running", "cancelled")
    assert engine.finish(b.succeeded()) == [0]
    run(engine, "undo")
    run(engine, "on_exit")
    found = engine.workflow(workflow)
    assert (found["status"], found["error"]["message"]) == ("cancelled", "No longer needed.")
    assert engine.cancel(workflow) == "cancelled"


def test_cancelled_again_during_its_ending_it_is_over_at_once(engine: Engine) -> None:
    define(engine, {"a": step(), **HANDLERS})
    workflow = engine.start()
    claim_only(engine, "a")
    engine.cancel(workflow)
    exit = claim_only(engine, "on_exit")
    engine.cancel(workflow)
    assert engine.status(workflow) == "cancelled"
    assert engine.tasks(workflow)["on_exit"] == "cancelled"
    assert engine.finish(exit.succeeded()) == [0]


def test_a_failure_that_is_cancelled_during_its_ending_stays_a_failure(engine: Engine) -> None:
    define(engine, {"a": step(), **HANDLERS})
    workflow = engine.start()
    run(engine, "a", fails=True)
    engine.cancel(workflow)
    found = engine.workflow(workflow)
    assert (found["status"], found["error"]["step"]) == ("failed", "a")


def test_a_workflow_that_never_began_ends_at_once(engine: Engine) -> None:
    define(engine, {"a": step(), **HANDLERS})
    workflow = engine.start()
    engine.cancel(workflow)
    assert engine.status(workflow) == "cancelled"
    assert engine.claim() == []


def test_the_handlers_of_a_workflow_that_was_paused_and_cancelled_run(engine: Engine) -> None:
    define(engine, {"a": step(), "b": step(["a"]), **HANDLERS})
    workflow = engine.start()
    run(engine, "a")
    engine.pause_workflow(workflow)
    assert engine.claim() == []
    engine.cancel(workflow)
    run(engine, "on_exit")
    assert engine.status(workflow) == "cancelled"


def test_locks_of_the_workflow_are_kept_through_its_ending_and_those_of_tasks_are_not(engine: Engine) -> None:
    resource = {"kind": "lock", "scope": "workflow", "capacity": 1, "units": 1}
    define(
        engine,
        {"a": step(resources=[{**resource, "key": "whole"}, {**resource, "key": "mine", "scope": "task"}]), **HANDLERS},
    )
    workflow = engine.start()
    claim_only(engine, "a")
    engine.cancel(workflow)
    assert (engine.holders("whole"), engine.holders("mine")) == ([workflow], [])
    run(engine, "on_exit")
    assert engine.holders("whole") == []


def test_a_retry_runs_the_handlers_again_when_it_ends_again(engine: Engine) -> None:
    define(engine, {"a": step(), **HANDLERS})
    workflow = engine.start()
    for name in ("a", "on_failure", "on_exit"):
        run(engine, name, fails=name == "a")
    assert engine.retry(workflow) == 1
    assert (engine.status(workflow), ending(engine, workflow)) == ("running", None)
    run(engine, "a")
    run(engine, "on_exit")
    assert engine.status(workflow) == "succeeded"
    assert engine.outcomes(workflow, "on_exit") == ["succeeded", "succeeded"]


def test_a_handler_that_runs_again_shows_the_steps_of_its_last_run_only(engine: Engine) -> None:
    define(engine, {"a": step(), "on_failure": step(kind="on_failure")}, {"on_failure": ("block", {"log": step()})})
    workflow = engine.start()
    for _ in range(2):
        run(engine, "a", fails=True)
        engine.finish(claim_only(engine, "on_failure").opens(1))
        run(engine, "log")
        run(engine, "on_failure")
        engine.retry(workflow)
    shown = engine.rows(
        "select path from workflow.task_list where workflow_id = %s and not coalesce(replaced, false)", workflow
    )
    assert sorted(row["path"] for row in shown) == ["a", "on_failure", "on_failure.log"]


def test_what_was_undone_is_done_again_by_a_retry(engine: Engine) -> None:
    define(
        engine,
        {
            "a": step(),
            "pay": step(["a"], compensation="undo"),
            "ship": step(["pay"]),
            "tell": step(["ship"]),
            "undo": step(kind="compensation"),
        },
    )
    workflow = engine.start()
    for name in ("a", "pay", "ship", "tell", "undo"):
        run(engine, name, fails=name == "tell")
    assert engine.retry(workflow) == 3
    for name in ("pay", "ship", "tell", "undo"):
        run(engine, name, fails=name == "tell")
    assert engine.status(workflow) == "failed"
    assert engine.outcomes(workflow, "undo") == ["succeeded", "succeeded"]
    assert engine.outcomes(workflow, "a") == ["succeeded"]


def test_an_output_that_failed_is_rendered_again_by_a_retry(engine: Engine) -> None:
    define(engine, {"a": step(), "output": step(kind="output")})
    workflow = engine.start()
    run(engine, "a")
    run(engine, "output", fails=True)
    engine.retry(workflow)
    assert engine.status(workflow) == "running"
    run(engine, "output", output=1)
    assert (engine.status(workflow), engine.workflow(workflow)["output"]) == ("succeeded", 1)


def test_a_compensation_that_failed_can_be_retried_alone(engine: Engine) -> None:
    define(
        engine,
        {"pay": step(compensation="undo"), "ship": step(["pay"]), "undo": step(kind="compensation"), **HANDLERS},
    )
    workflow = engine.start()
    for name in ("pay", "ship", "undo", "on_failure", "on_exit"):
        run(engine, name, fails=name in ("ship", "undo"))
    assert engine.status(workflow) == "failed"
    assert engine.retry_task(engine.task(workflow, "undo")["id"]) == 1
    assert (engine.status(workflow), ending(engine, workflow)) == ("running", "failed")
    run(engine, "undo")
    found = engine.workflow(workflow)
    assert (found["status"], found["error"]["step"]) == ("failed", "ship")
    assert engine.claim() == []


def terminated(claim: Claim, **data: Any) -> dict[str, Any]:
    return claim.succeeded(effects={"terminate": data})


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_terminate_ends_the_workflow_with_its_status_and_output(engine: Engine, status: str) -> None:
    define(engine, {"end": step(), "other": step(), "behind": step(["end"])})
    workflow = engine.start()
    claims = {c.step: c for c in engine.claim()}
    engine.finish(terminated(claims["end"], status=status, reason="Enough.", output={"x": 1}))
    found = engine.workflow(workflow)
    assert (found["status"], found["output"]) == (status, {"x": 1})
    assert engine.tasks(workflow) == {"end": "succeeded", "other": "cancelled", "behind": "cancelled"}
    assert engine.finish(claims["other"].succeeded()) == [0]
    if status == "succeeded":
        assert found["error"] is None
    else:
        assert (found["error"]["message"], found["error"]["step"]) == ("Enough.", "end")
    assert "workflow.terminated" in engine.events(workflow)


def test_terminate_works_from_inside_scopes_and_the_ending_follows(engine: Engine) -> None:
    define(
        engine,
        {"map": step(), "other": step(), "output": step(kind="output"), **HANDLERS},
        {"map": ("item", {"body": step()})},
    )
    workflow = engine.start()
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["map"].opens(1, 5, width=2))
    first, second = engine.claim()
    engine.finish(terminated(first, status="succeeded", output=7), second.succeeded())
    run(engine, "on_exit")
    found = engine.workflow(workflow)
    assert (found["status"], found["output"], found["error"]) == ("succeeded", 7, None)


def test_an_item_that_ended_in_the_commit_of_a_terminate_is_kept_by_a_retry(engine: Engine) -> None:
    define(engine, {"map": step(), "end": step()}, {"map": ("item", {"body": step()})})
    workflow = engine.start()
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["map"].opens(1, 2))
    first, second = sorted(engine.claim(), key=lambda c: c.task_id)
    engine.finish(second.succeeded(2))
    engine.finish(terminated(claims["end"], status="failed"), first.succeeded(1))
    assert engine.status(workflow) == "failed"
    engine.retry(workflow)
    (again,) = engine.claim()
    assert (again.step, again.raw["resumed"]["outputs"]) == ("map", [{"body": 1}, {"body": 2}])


def test_terminate_of_a_success_without_an_output_renders_the_template(engine: Engine) -> None:
    define(engine, {"end": step(), "output": step(kind="output")})
    workflow = engine.start()
    engine.finish(terminated(claim_only(engine, "end"), status="succeeded"))
    run(engine, "output", output=3)
    assert engine.workflow(workflow)["output"] == 3


def test_terminate_inside_a_handler_changes_the_outcome_and_the_ending_goes_on(engine: Engine) -> None:
    define(
        engine,
        {"a": step(), **HANDLERS},
        {"on_failure": ("block", {"forgive": step(), "more": step()})},
    )
    workflow = engine.start()
    run(engine, "a", fails=True)
    engine.finish(claim_only(engine, "on_failure").opens(1))
    claims = {c.step: c for c in engine.claim()}
    engine.finish(terminated(claims["forgive"], status="succeeded", output="forgiven"))
    assert ending(engine, workflow) == "succeeded"
    run(engine, "on_exit")
    found = engine.workflow(workflow)
    assert (found["status"], found["output"], found["error"]) == ("succeeded", "forgiven", None)


def test_a_cancel_waits_for_a_completion_and_then_sees_the_ending_it_began(
    engine: Engine, other: Engine, blocked: Callable[..., "Future[Any]"]
) -> None:
    define(engine, {"a": step(), **HANDLERS})
    workflow = engine.start()
    a = claim_only(engine, "a")
    with engine.transaction():
        engine.finish(a.failed())
        cancelled = blocked(other, lambda: other.cancel(workflow))
    cancelled.result()
    # The cancel came during the ending, so it is over; and it is the failure that it was going to be.
    assert engine.status(workflow) == "failed"
    assert "on_failure" in engine.tasks(workflow)


def test_a_workflow_that_goes_on_with_another_version_has_the_ending_of_that_one(engine: Engine) -> None:
    define(engine, {"a": step(), "output": step(kind="output")})
    workflow = engine.start()
    run(engine, "a")
    run(engine, "output", fails=True)
    define(engine, {"a": step(), "output": step(kind="output", priority=1), "on_exit": step(kind="on_exit")})
    engine.pin(workflow, 2)
    engine.retry(workflow)
    assert ending(engine, workflow) == "succeeded"
    run(engine, "output", output=2)
    run(engine, "on_exit")
    found = engine.workflow(workflow)
    assert (found["status"], found["output"], found["version"]) == ("succeeded", 2, 2)
