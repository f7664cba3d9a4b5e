"""Locks and limits: who has them and who waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class LockPlace:
    """A task that holds a lock or units of a limit, or waits for them."""

    workflow_id: UUID
    task_id: int
    step: str
    scope: str
    units: int
    since: datetime  # held, or pending since


@dataclass(frozen=True, slots=True)
class LockInUse:
    """A lock or limit that somebody holds or waits for."""

    kind: str
    key: str
    used: int
    holding: int
    waiting: int
    capacity: int | None  # of a limit: units in all, as the steps say that name it; None: any number, or a lock
    holders: list[LockPlace]  # at most 100
    waiters: list[LockPlace]  # in order, at most 100


@dataclass(frozen=True, slots=True)
class LockWait:
    """A task that waits for a lock which another workflow holds to its end."""

    waiter: UUID
    task_id: int
    key: str
    since: datetime
    holder: UUID


@dataclass(frozen=True, slots=True)
class Deadlock:
    """Workflows each of which waits for a lock of the next, the last for one of the first."""

    workflows: tuple[UUID, ...]
    waits: list[LockWait]  # between them

    @property
    def youngest(self) -> LockWait:
        """The wait that closed the circle."""
        return max(self.waits, key=lambda wait: (wait.since, wait.task_id))

    @property
    def path(self) -> str:
        """Who waits for whom, the first again at the end."""
        return " -> ".join(str(workflow) for workflow in (*self.workflows, self.workflows[0]))


@dataclass(frozen=True, slots=True)
class ReleasedLocks:
    """What an operator took away from a workflow."""

    workflow_id: UUID
    locks: list[str]
    tasks: int  # that lost their lease


@dataclass(frozen=True, slots=True)
class HeldLocks:
    """The locks that a workflow holds."""

    workflow_id: UUID
    holder: str  # the worker that runs the task under the oldest of them, or `workflow`
    acquired_at: datetime
    what: str
    seconds: float | None  # for which it is certain, by the leases; None: as long as the workflow lives
