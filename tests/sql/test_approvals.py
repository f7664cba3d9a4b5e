"""Approvals: people are asked, the first answer counts, and none that was accepted is lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from .engine import Claim, Engine

ASKED = {"prompt": "Refund?", "outcomes": ["yes", "no"], "assignees": ["ann"], "form_schema": {"type": "object"}}


def asked(engine: Engine, **awaits: Any) -> tuple[UUID, UUID]:
    """A workflow whose step has asked, and its approval."""
    engine.define({"a": []})
    workflow = engine.start()
    assert engine.finish(engine.claim_one().waiting("approval", **{**ASKED, **awaits})) == []
    return workflow, approval(engine, workflow)["id"]


def approval(engine: Engine, workflow: UUID) -> dict[str, Any]:
    return engine.rows("select * from workflow.approval_list where workflow_id = %s order by id desc", workflow)[0]


def answer_of(claim: Claim) -> Any:
    return claim.raw["resumed"].get("answer")


def refused(call: Callable[[], Any]) -> tuple[str | None, str | None]:
    with pytest.raises(psycopg.Error) as error:
        call()
    return error.value.sqlstate, error.value.diag.message_detail


def test_a_question_is_open_until_it_is_answered_and_the_task_goes_on(engine: Engine) -> None:
    workflow, id = asked(engine)
    row = approval(engine, workflow)
    assert (row["status"], row["prompt"], row["outcomes"], row["assignees"]) == (
        "open",
        "Refund?",
        ["yes", "no"],
        ["ann"],
    )
    assert (row["step"], row["attempt"], row["form_schema"], row["expires_at"]) == ("a", 1, {"type": "object"}, None)
    assert engine.claim() == []
    answer = engine.answer(id, "yes", {"sum": 3}, "ann")
    assert (answer["status"], answer["outcome"], answer["by"], answer["repeated"]) == ("answered", "yes", "ann", False)
    claim = engine.claim_one()
    assert {key: answer_of(claim)[key] for key in ("outcome", "data", "by")} == {
        "outcome": "yes", "data": {"sum": 3}, "by": "ann",
    }  # fmt: skip
    engine.finish(claim.succeeded(answer_of(claim)))
    assert engine.status(workflow) == "succeeded"
    assert approval(engine, workflow)["status"] == "answered"


def test_the_first_answer_counts_and_may_be_repeated(engine: Engine) -> None:
    _, id = asked(engine)
    first = engine.answer(id, "yes", None, "ann")
    again = engine.answer(id, "yes", None, "bob")
    assert (again["repeated"], again["by"], again["at"]) == (True, "ann", first["at"])
    assert refused(lambda: engine.answer(id, "no")) == ("WF409", "invalid-transition")
    assert refused(lambda: engine.answer(id, "yes", {"sum": 1})) == ("WF409", "invalid-transition")


def test_an_answer_that_was_not_asked_for_is_refused(engine: Engine) -> None:
    _, id = asked(engine)
    assert refused(lambda: engine.answer(id, "perhaps")) == ("WF422", "invalid-parameter")
    assert refused(lambda: engine.answer(uuid4(), "yes")) == ("WF404", "approval-not-found")


def test_a_question_without_outcomes_can_be_approved_or_rejected(engine: Engine) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    engine.finish(engine.claim_one().waiting("approval"))
    row = approval(engine, workflow)
    assert (row["outcomes"], row["assignees"], row["prompt"]) == (["approved", "rejected"], [], None)


def test_a_question_whose_time_is_over_cannot_be_answered_any_more(engine: Engine) -> None:
    workflow, id = asked(engine, deadline=60)
    engine.set_clock("61 seconds")
    assert approval(engine, workflow)["status"] == "expired"
    assert refused(lambda: engine.answer(id, "yes")) == ("WF409", "invalid-transition")
    claim = engine.claim_one()
    assert (claim.raw["resumed"]["due"], answer_of(claim)) == (True, None)
    assert engine.finish(claim.failed("timeout", effects={"expired": True})) == []
    assert approval(engine, workflow)["status"] == "expired"
    assert engine.status(workflow) == "failed"


def test_an_answer_at_the_last_moment_beats_the_deadline(engine: Engine, other: Engine) -> None:
    """The answer was accepted before its time was over, and committed when a worker had seen none."""
    workflow, id = asked(engine, deadline=60)
    engine.set_clock("61 seconds")
    with other.transaction():
        other.answer(id, "yes")
        engine.wake_due()
    claim = engine.claim_one()
    claim.raw["resumed"].pop("answer")  # as if it had been claimed before that commit
    assert engine.finish(claim.failed("timeout", effects={"expired": True})) == [0]
    claim = engine.claim_one()
    assert answer_of(claim)["outcome"] == "yes"
    engine.finish(claim.succeeded(answer_of(claim)))
    assert engine.status(workflow) == "succeeded"


def test_an_answer_and_the_completion_that_gives_up_at_once_have_one_winner(
    engine: Engine, other: Engine, blocked: Callable[..., Future[Any]]
) -> None:
    _, id = asked(engine, deadline=60)
    engine.set_clock("61 seconds")
    claim = engine.claim_one()
    with other.transaction():
        other.answer(id, "yes")  # its clock has not come to the deadline
        gives_up = blocked(engine, lambda: engine.finish(claim.failed("timeout", effects={"expired": True})))
    assert gives_up.result() == [0]
    assert answer_of(engine.claim_one())["outcome"] == "yes"


@pytest.mark.parametrize("how", ["cancel", "retry"])
def test_a_question_whose_task_no_longer_waits_is_withdrawn(engine: Engine, how: str) -> None:
    workflow, id = asked(engine, deadline=60)
    if how == "cancel":
        engine.cancel(workflow)
    else:
        engine.set_clock("61 seconds")
        claim = engine.claim_one()
        engine.set_clock("0")
        engine.finish(claim.retried())
    assert approval(engine, workflow)["status"] == "withdrawn"
    assert refused(lambda: engine.answer(id, "yes")) == ("WF409", "invalid-transition")


def test_a_task_that_is_tried_again_asks_again(engine: Engine) -> None:
    workflow, id = asked(engine)
    engine.answer(id, "no")
    engine.finish(engine.claim_one().retried())
    engine.wake_due()
    claim = engine.claim_one()
    assert "resumed" not in claim.raw
    engine.finish(claim.waiting("approval", **ASKED))
    second = approval(engine, workflow)
    assert (second["id"] == id, second["status"]) == (False, "open")
    engine.answer(second["id"], "yes")
    assert answer_of(engine.claim_one())["outcome"] == "yes"


def test_an_answer_that_was_claimed_by_a_worker_that_died_is_shown_to_the_next(engine: Engine) -> None:
    _, id = asked(engine)
    engine.answer(id, "yes")
    engine.claim_one()
    engine.set_clock("40 seconds")
    engine.sweep_expired_leases()
    assert answer_of(engine.claim_one())["outcome"] == "yes"


def test_a_cancel_and_an_answer_at_once_leave_nothing_open(
    engine: Engine, other: Engine, blocked: Callable[..., Future[Any]]
) -> None:
    workflow, id = asked(engine)
    with other.transaction():
        other.cancel(workflow)
        answer = blocked(engine, lambda: engine.answer(id, "yes"))
    with pytest.raises(psycopg.Error) as error:
        answer.result()
    assert error.value.sqlstate == "WF409"
    assert approval(engine, workflow)["status"] == "withdrawn"


def test_two_answers_at_once_have_one_winner(
    engine: Engine, other: Engine, blocked: Callable[..., Future[Any]]
) -> None:
    workflow, id = asked(engine)
    with engine.transaction():
        engine.answer(id, "yes", None, "ann")
        second = blocked(other, lambda: other.answer(id, "no", None, "bob"))
    with pytest.raises(psycopg.Error) as error:
        second.result()
    assert (error.value.sqlstate, "ann" in str(error.value)) == ("WF409", True)
    assert approval(engine, workflow)["outcome"] == "yes"
