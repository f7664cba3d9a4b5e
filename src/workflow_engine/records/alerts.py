"""Alerts, what they are held against, and the engines there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

Measures = Mapping[str, float | Mapping[str, float]]
"""Numbers by name, or by name and what they are about; what is not known is not there."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A condition that holds now.

    Attributes:
        name: Of the rule.
        subject: Which queue, worker or schedule; empty: the whole installation.
        seconds: For so long it must hold before the alert fires.
        age_seconds: For so long it has held, where that is known better than from looking.
    """

    name: str
    subject: str
    severity: str
    value: float
    threshold: float
    seconds: float
    age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert whose condition holds, or held lately."""

    name: str
    subject: str
    severity: str
    state: str  # pending, firing or ended
    value: float | None
    threshold: float | None
    since: datetime
    fires_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Watched:
    """What was found when the conditions were looked at last."""

    at: datetime | None  # None: nobody has looked yet
    now: datetime
    measures: Measures
    alerts: list[Alert]  # that hold


@dataclass(frozen=True, slots=True)
class EngineProcess:
    """An engine process that has not said goodbye."""

    id: int
    host: str
    pid: int
    version: str
    started_at: datetime
    heard_at: datetime
    status: str
    leads: bool
    lag_seconds: float | None
