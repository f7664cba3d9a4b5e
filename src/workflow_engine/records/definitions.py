"""Definitions and their versions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


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
