"""What workflows wait for from outside, and what they tell others: signals, approvals, deliveries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Signal:
    """Something that was sent to a workflow."""

    seq: int
    workflow_id: UUID
    name: str
    payload: Any
    by: str | None
    at: datetime
    taken_by: int | None  # the task
    taken_at: datetime | None


@dataclass(frozen=True, slots=True)
class SentSignal:
    """What came of sending one."""

    seq: int
    workflow_id: UUID
    name: str
    at: datetime
    repeated: bool  # it had been sent before, with the same key


@dataclass(frozen=True, slots=True)
class Approval:
    """A question to people, and its answer."""

    id: UUID
    workflow_id: UUID
    name: str | None  # of the definition
    task_id: int
    step: str | None
    attempt: int
    status: str
    prompt: str | None
    form_schema: dict[str, Any] | None
    assignees: list[str]
    outcomes: list[str]
    created_at: datetime
    expires_at: datetime | None
    outcome: str | None
    data: Any
    by: str | None
    at: datetime | None

    def form_of(self, outcome: str) -> dict[str, Any] | None:
        """The schema that `data` of such an answer must fit: a rejection need not say what the form asks for."""
        return None if outcome == "rejected" else self.form_schema


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a workflow has emitted, and how far its delivery is."""

    id: UUID
    workflow_id: UUID
    task_id: int
    name: str
    payload: Any
    kind: str
    target: str | None  # a workflow id or a URL; None: all that waited for a signal of that name
    status: str
    tries: int
    created_at: datetime
    due_at: datetime | None
    delivered_at: datetime | None
    error: str | None
    receivers: int | None


@dataclass(frozen=True, slots=True)
class DeliveryTarget:
    """Where deliveries do not get through."""

    kind: str
    origin: str  # of webhooks: scheme and host
    dead: int
    failing: int
    newest: datetime
    error: str | None  # of the newest of them


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook that was taken for a try."""

    id: UUID
    workflow_id: UUID
    task_id: int
    name: str
    payload: Any
    url: str | None
    origin: str
    tries: int  # this one counted
    created_at: datetime
