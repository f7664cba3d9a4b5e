"""Definitions and their versions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a definition with the live workflows that run on it or are pinned to it."""

    name: str
    latest_version: int
    pinned_version: int | None
    version: int
    hash: str
    created_at: datetime
    active_runs: int
    pinned_runs: int
    is_default: bool


@dataclass(frozen=True, slots=True)
class PinnedDefinition:
    """With which version new workflows of a definition start."""

    name: str
    latest_version: int
    pinned_version: int | None


@dataclass(frozen=True, slots=True)
class DefinitionSummary:
    """A definition in a list."""

    name: str
    latest_version: int
    pinned_version: int | None
    disabled_at: datetime | None  # it starts nothing new since then
    created_at: datetime
    updated_at: datetime  # when it got its latest version


@dataclass(frozen=True, slots=True)
class Definition(DefinitionSummary):
    """One version of a definition, with its document."""

    version: int
    hash: str
    registered_at: datetime
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DefinitionVersion:
    """Which version of a definition is meant, by the word of Postgres."""

    id: int
    name: str
    version: int
    hash: str


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A version in a list."""

    version: int
    hash: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LiveVersion:
    """How many workflows that have not ended are on a version."""

    name: str
    version: int
    live: int
    pinned: int  # of them those that are pinned to a version


@dataclass(frozen=True, slots=True)
class RecentEnds:
    """How workflows of a definition, or of one version of it, ended lately."""

    name: str
    version: int | None  # None: of all versions together
    succeeded: int
    failed: int
    cancelled: int
    p50: float | None  # seconds from their creation on, of those that succeeded; right to a tenth
    p95: float | None

    @property
    def success(self) -> float | None:
        """The part that succeeded of those that came to an end of their own; None: none did."""
        ended = self.succeeded + self.failed
        return self.succeeded / ended if ended else None


@dataclass(frozen=True, slots=True)
class PinnableWorkflow:
    """A workflow that has not ended, and the version that it is on."""

    id: UUID
    version: int
    pinned_version: int | None
    status: str
    paused_at: datetime | None
    created_at: datetime
