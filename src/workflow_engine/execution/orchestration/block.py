"""`block`: a list of steps as one."""

from __future__ import annotations

from workflow_engine.execution.attempt import Attempt, Resumed, Waits
from workflow_engine.execution.orchestration.base import Definitions, Move, Orchestrated, scope_of
from workflow_engine.handlers.base import Outcome


async def _begin(attempt: Attempt, definitions: Definitions | None) -> Move:
    block = attempt.step.block
    assert block is not None
    return Waits("scope", {"scope": block.scope, "instances": [{"position": 0, "variables": {}}]})


async def _resume(attempt: Attempt, resumed: Resumed) -> Move:
    return Outcome(scope_of(attempt, resumed)["outputs"][0])


BLOCK = Orchestrated("block", _begin, _resume, "Groups steps")
