"""What came of a trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from workflow_engine.errors import Fault


@dataclass(frozen=True, slots=True)
class TrialTask:
    """A task as it was at the end. Of a child workflow, the path begins with that of its parent: `ship/pack`."""

    path: str
    step: str
    type: str
    status: str
    attempt: int
    output: Any
    error: dict[str, Any] | None
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class TrialEvent:
    """Something that happened, at a virtual time."""

    at: datetime
    type: str
    path: str | None  # None: to the workflow
    attempt: int | None
    data: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What came of a trial.

    Attributes:
        status: Of the workflow: `succeeded`, `failed` or `cancelled`; `running` when it has not ended.
        output: Of the workflow.
        error: Of the workflow.
        stopped: Why it has not ended: `waiting` (for what `waits_for` says), `steps` or `time` (it took too many or too
            long); None when it has ended.
        waits_for: Tasks that wait for what was not given: `{"path", "for", ...}`.
        tasks: All tasks, in the order in which they were made.
        events: All events, in order.
        emitted: What `emit` steps said, in order: `{"name", "payload", "to", "target", "path", "at"}`.
        started_at: Virtual.
        duration: Virtual seconds from the start to the end.
        unused: What was given and nobody asked for: `{"outputs": [...], "signals": [...], "approvals": [...]}`.
        warnings: Of the definition.
    """

    status: str
    output: Any
    error: dict[str, Any] | None
    stopped: str | None
    waits_for: Sequence[dict[str, Any]]
    tasks: Sequence[TrialTask]
    events: Sequence[TrialEvent]
    emitted: Sequence[dict[str, Any]]
    started_at: datetime
    duration: float
    unused: dict[str, list[str]]
    warnings: Sequence[Fault] = field(default_factory=tuple)

    @property
    def statuses(self) -> dict[str, str]:
        """The status of every task, by path."""
        return {task.path: task.status for task in self.tasks}

    def task(self, path: str) -> TrialTask:
        """The task with a path.

        Raises:
            KeyError: There is none.
        """
        for task in self.tasks:
            if task.path == path:
                return task
        raise KeyError(f"There is no task {path!r}; there are {', '.join(task.path for task in self.tasks)}")
