"""The ways to say how an attempt ended."""

from __future__ import annotations

from typing import Any

from workflow_engine.records import Claim, Completion
from workflow_engine.states import AttemptOutcome


def completion(claim: Claim, outcome: AttemptOutcome, **fields: Any) -> Completion:
    """The completion of a claim; `fields` are those of `Completion`."""
    return Completion(claim.task_id, claim.attempt, claim.lease_token, outcome, workflow_id=claim.workflow_id, **fields)
