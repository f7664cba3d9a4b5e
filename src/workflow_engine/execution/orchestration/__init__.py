"""The step types that the engine does itself: they reach nothing outside, and most of them wait.

A worker begins such a step, says what its task waits for, and is free. When that has come, any worker gets the task
again and goes on. So loops, maps and waits take a worker only for the moments in which something is decided.
"""

from __future__ import annotations

from collections.abc import Mapping

from workflow_engine.execution.orchestration.approval import APPROVAL
from workflow_engine.execution.orchestration.base import Definitions, Orchestrated, steps_inside
from workflow_engine.execution.orchestration.block import BLOCK
from workflow_engine.execution.orchestration.emit import EMIT
from workflow_engine.execution.orchestration.for_each import FOR_EACH
from workflow_engine.execution.orchestration.loop import LOOP
from workflow_engine.execution.orchestration.signal import SIGNAL
from workflow_engine.execution.orchestration.switch import SWITCH
from workflow_engine.execution.orchestration.terminate import TERMINATE
from workflow_engine.execution.orchestration.wait import WAIT
from workflow_engine.execution.orchestration.workflow import WORKFLOW

__all__ = ["ORCHESTRATED", "Definitions", "Orchestrated", "steps_inside"]

ORCHESTRATED: Mapping[str, Orchestrated] = {
    orchestrated.type: orchestrated
    for orchestrated in (
        APPROVAL, BLOCK, EMIT, FOR_EACH, LOOP, SIGNAL, SWITCH, TERMINATE, WAIT, WORKFLOW,
    )
}  # fmt: skip
"""By task type."""
