"""Keys of the API, and what the audit log says."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as an engine needs it to know who shows it."""

    id: str
    name: str
    roles: list[str]
    groups: list[str]
    hash: bytes = field(repr=False)
    expires_at: datetime | None
    ends_in: float | None  # seconds from when it was read
    revoked: bool
    used_lately: bool  # nobody needs to note that it is used


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key as operators see it."""

    id: str
    name: str
    roles: list[str]
    groups: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    status: str  # active, expired or revoked


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Something that was asked of the API."""

    id: int
    at: datetime
    principal: str | None
    key_id: str | None
    address: str | None
    request_id: str | None
    method: str
    path: str
    operation: str
    workflow_id: UUID | None
    status: int | None
    times: int
    reason: str | None  # as who asked said


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows are meant; each that is given leaves less of them.

    Attributes:
        operation: Ending in `*`: any that begins so.
    """

    principal: str | None = None
    operation: str | None = None
    workflow_id: UUID | None = None
    status: int | None = None
    since: datetime | None = None
    until: datetime | None = None
