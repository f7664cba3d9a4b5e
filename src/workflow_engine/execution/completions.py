"""The ways to say how an attempt ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflow_engine.execution.attempt import Attempt, Waits
from workflow_engine.records import Completion
from workflow_engine.states import AttemptOutcome


def completion(
    attempt: Attempt, outcome: AttemptOutcome, *, effects: Mapping[str, Any] | None = None, **fields: Any
) -> Completion:
    """The completion of an attempt.

    Args:
        effects: What else its commit does, beside those of every end of this attempt.
        fields: Of `Completion`.
    """
    claim = attempt.claim
    found = {**attempt.effects, **(effects or {})}
    if usage := attempt.usage.as_json():
        found["usage"] = usage
    return Completion(
        claim.task_id,
        claim.attempt,
        claim.lease_token,
        outcome,
        workflow_id=claim.workflow_id,
        effects=found or None,
        **fields,
    )


def waiting(attempt: Attempt, waits: Waits, *, catching: Mapping[str, Any] | None = None) -> Completion:
    """The completion of an attempt whose task now waits.

    A wait is bound by its own deadline and by the step's timeout. Not so the wait for the steps of a catch, for which
    that time is over, and that for a time, which is its own end.
    """
    state = {"began": attempt.began, "own": waits.state, "catching": catching}
    awaits = {
        "kind": waits.kind,
        **waits.fields,
        "state": {key: kept for key, kept in state.items() if kept is not None},
    }
    bounds = [waits.deadline, attempt.own_timeout if catching is None and waits.kind != "timer" else None]
    if given := [bound for bound in bounds if bound is not None]:
        awaits["deadline"] = max(min(given) - attempt.elapsed, 0.0)
    return completion(attempt, AttemptOutcome.WAITING, awaits=awaits)
