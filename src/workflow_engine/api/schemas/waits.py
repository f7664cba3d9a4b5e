"""Signals, approvals and the outbox."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field, RootModel

from workflow_engine.api.schemas.shape import Shape
from workflow_engine.states import ApprovalStatus, DeliveryStatus


class SignalPayload(RootModel[Any]):
    """The payload of a signal: any JSON."""


class SentSignal(Shape):
    """A signal that a workflow has got."""

    seq: str = Field(description="Grows with the order of sending.")
    workflow_id: str
    name: str
    at: datetime
    links: dict[str, str]


class Signal(Shape):
    """A signal and what became of it."""

    seq: str
    name: str
    payload: Any
    by: str | None
    at: datetime
    taken_by: str | None = Field(description="The task whose wait it has ended.")
    taken_at: datetime | None


class Approval(Shape):
    """A question to people."""

    id: str
    workflow_id: str
    workflow_name: str | None
    task_id: str
    step: str | None
    status: ApprovalStatus
    prompt: str | None
    form_schema: dict[str, Any] | None = Field(
        description="JSON Schema that `data` of an answer must fit, unless its outcome is `rejected`."
    )
    assignees: list[str] = Field(
        description="Principals or groups. Where keys are needed, only they and admins may answer; none: anyone."
    )
    outcomes: list[str]
    created_at: datetime
    expires_at: datetime | None
    outcome: str | None
    data: Any
    by: str | None
    at: datetime | None
    links: dict[str, str]


class ApprovalAnswer(Shape):
    """An answer to an approval."""

    outcome: str = Field(description="One of its outcomes.")
    data: Any = Field(default=None, description="What its form asks for; of a rejection anything, or nothing.")
    by: str | None = Field(default=None, max_length=200, description="Who answers; a key signs with its own name, too.")


class Delivery(Shape):
    """What a step has emitted, and how far its delivery is."""

    id: str
    workflow_id: str
    task_id: str
    name: str
    payload: Any
    to: Literal["signal", "webhook"]
    target: str | None = Field(description="A workflow or a URL; null: all that wait for a signal of that name.")
    status: DeliveryStatus
    tries: int
    created_at: datetime
    due_at: datetime | None = Field(description="Of the next try.")
    delivered_at: datetime | None
    error: str | None = Field(description="Of the last try.")
    receivers: int | None = Field(description="Without a target: how many workflows there were.")
    links: dict[str, str]


class BulkDeliveries(Shape):
    """How many deliveries of a page are sent again, or with `dry_run` would be."""

    dry_run: bool
    done: int
    unchanged: int = Field(description="Delivered meanwhile.")
    refused: int = Field(description="Always 0.")
    next: str | None = Field(description="POST here to go on with older ones; null when these were the last.")
