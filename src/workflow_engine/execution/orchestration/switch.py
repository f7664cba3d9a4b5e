"""`switch`: chooses among cases; steps behind it name the case for which they run."""

from __future__ import annotations

from workflow_engine.definition.expressions import holds
from workflow_engine.execution.attempt import Attempt
from workflow_engine.execution.orchestration.base import Definitions, Move, Orchestrated, never_resumed
from workflow_engine.handlers.base import Outcome


async def _begin(attempt: Attempt, definitions: Definitions | None) -> Move:
    switch = attempt.step.switch
    assert switch is not None
    chosen = []
    for case in switch.cases:
        if holds(case.when, attempt.names):
            chosen.append(case.id)
            if switch.mode == "first":
                break
    return Outcome({"cases": chosen or [switch.default]})


SWITCH = Orchestrated("switch", _begin, never_resumed, "Chooses among cases")
