"""The states of tasks and workflows, and what each may become.

Task:      blocked -> pending -> running -> succeeded | failed | skipped | cancelled
           running -> scheduled (backoff) -> pending;  running -> pending (released, or its lease was lost)
           running -> waiting (signal, approval, child) -> succeeded | failed | cancelled
           any state that is not terminal -> cancelled;  blocked -> failed (upstream_failed) | skipped
Workflow:  pending -> running -> succeeded | failed | cancelled

Terminal is final, except by an audited retry. The database owns every transition (`sql/functions/`); these names
are for readers of its rows. `tests/unit/test_states.py` keeps them equal to the CHECK constraints.
"""

from enum import StrEnum


class TaskStatus(StrEnum):
    BLOCKED = "blocked"  # some dependency is still open
    PENDING = "pending"  # ready to run and unclaimed; a job exists
    RUNNING = "running"  # claimed under a lease
    SCHEDULED = "scheduled"  # waiting for a time: backoff or a timer; a job exists
    WAITING = "waiting"  # waiting for a signal, an approval or a child workflow
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in TERMINAL_TASK_STATUSES


class WorkflowStatus(StrEnum):
    PENDING = "pending"  # accepted; no task was claimed yet
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in TERMINAL_WORKFLOW_STATUSES


TERMINAL_TASK_STATUSES = frozenset({TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.SKIPPED, TaskStatus.CANCELLED})
TERMINAL_WORKFLOW_STATUSES = frozenset({WorkflowStatus.SUCCEEDED, WorkflowStatus.FAILED, WorkflowStatus.CANCELLED})


class AttemptOutcome(StrEnum):
    """How one attempt ended. Only `succeeded` may appear at most once for a task."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"  # final: the task failed with it
    RETRIED = "retried"  # failed, and another attempt follows
    SKIPPED = "skipped"  # its `when` was false
    RELEASED = "released"  # handed back by a draining worker; not a try
    LOST = "lost"  # the lease expired
    CANCELLED = "cancelled"
    WAITING = "waiting"  # the task now waits for a time, an event, or the end of other tasks; not a try


class OrphanReason(StrEnum):
    """Why nobody moves a live workflow any more; the first that holds for one of its tasks names the workflow's."""

    WORKER_DEAD = "worker_dead"  # it runs on a worker that is dead, has stopped or is unknown
    LOCK_EXPIRED = "lock_expired"  # its lease has run out, although its worker lives
    LOST_WAKEUP = "lost_wakeup"  # its job is gone


class WorkerStatus(StrEnum):
    ACTIVE = "active"
    DRAINING = "draining"
    STOPPED = "stopped"
    DEAD = "dead"  # derived: the heartbeat stopped without a goodbye


class ApprovalStatus(StrEnum):
    OPEN = "open"
    ANSWERED = "answered"
    EXPIRED = "expired"  # its time was over before an answer came
    WITHDRAWN = "withdrawn"  # its task no longer waits for it


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"  # given up
