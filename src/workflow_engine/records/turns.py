"""What goes between a worker and Postgres.

Claims and completions are read-only by agreement, not `frozen`: a worker makes thousands a second, and a frozen one
costs twice as much to make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Claim:
    """A task as its worker gets it, with the right to run one attempt."""

    task_id: int
    workflow_id: str
    workflow_name: str
    workflow_version: int
    version_id: int
    step_index: int
    attempt: int
    tries: int  # earlier attempts that count against the retry policy
    lease_token: str
    wait_seconds: float  # pending until claimed
    elapsed_seconds: float  # since the first attempt of this round started; bounds `max_elapsed`
    timeout: float | None  # seconds, by the task type or, if `timeout_is_override`, by an operator's retry
    timeout_is_override: bool
    labels: dict[str, str]
    workflow_started_at: str
    input: Any  # None unless the step's expressions use it
    steps: dict[str, Any] | None  # results of the steps it refers to, by step id
    max_attempts: int | None = None  # by the task type, where its step has no retry policy
    path: str | None = None  # of a task inside a scope: `process[3].fetch`; else its step's id is its path
    variables: dict[str, Any] | None = None  # what the scopes around it add to the names: item, iteration, error, ...
    resumed: dict[str, Any] | None = None  # {"awaits", "due", ...}: what came of what its last attempt waited for
    raised: dict[str, Any] | None = None  # an error found by Postgres, for this step's `catch`: nothing is to be run
    workflow_status: str | None = None  # in an ending: how the workflow is going to end
    workflow_error: dict[str, Any] | None = None  # in an ending: why, unless it succeeds
    workflow_parent_id: str | None = None  # of a child workflow
    crashes: int = 0  # earlier claims whose worker was lost
    traceparent: str | None = None  # of whoever started the workflow; once this attempt has a span, of that


@dataclass(slots=True)
class Completion:
    """How an attempt ended, as its worker says it: the fields of the SQL type `workflow.completion`, and `logs`."""

    task_id: int
    attempt: int
    lease_token: str
    outcome: str
    output: bytes | None = None  # encoded JSON
    error: dict[str, Any] | None = None
    delay: float | None = None  # seconds until the next attempt
    record: Any = None
    logs: list[dict[str, Any]] | None = None  # what the handler logged
    workflow_id: str | None = None  # for log lines about it
    next: str | None = None  # the task's state, where the outcome alone does not say it
    awaits: dict[str, Any] | None = None  # what the task waits for, when `next` is waiting
    effects: dict[str, Any] | None = None  # {"usage"?, "emit"?, "terminate"?}: what else happens in the same commit


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn brought."""

    stale: list[int]  # positions of refused completions
    claims: list[Claim]
    again: bool  # something claimable was locked by another transaction: ask again soon
    next_due: float | None  # seconds until the next scheduled task of these queues
    registered: bool = True  # False: Postgres does not know the worker; it must register again
