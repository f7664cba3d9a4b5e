"""One attempt as this package passes it around, and what it may wait for."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from workflow_engine.definition.plan import Plan, PlanStep
from workflow_engine.execution.names import names
from workflow_engine.execution.time_limits import TimeLimits
from workflow_engine.handlers.base import Usage
from workflow_engine.records import Claim


@dataclass(frozen=True, slots=True)
class Limits:
    """What every attempt is bound by unless its step or type says otherwise. Of one event loop."""

    timeout: float  # seconds
    payload_bytes: int
    random: Callable[[], float] = random.random  # spreads retries out; nothing secret
    time: TimeLimits = field(default_factory=TimeLimits)  # where those of all attempts are kept


@dataclass(slots=True)
class Attempt:
    """A claim with what is needed to run it. Read-only by agreement, as `Claim` is.

    Attributes:
        usage: What was used up so far; counted however it ends.
        effects: What else the commit of its end does or rests on, however it ends (sql/functions/waiting.sql).
        began: When this try began, on the clock of `Claim.elapsed_seconds`; earlier than the claim when it has waited.
    """

    claim: Claim
    plan: Plan
    step: PlanStep
    limits: Limits
    began: float
    usage: Usage = field(default_factory=Usage)
    effects: dict[str, Any] = field(default_factory=dict)
    _names: dict[str, Any] | None = field(default=None, init=False)

    @property
    def names(self) -> Mapping[str, Any]:
        """What its expressions see; `result`, `error` and `event` are added where there is one.

        Put together when the first of them asks, as most steps have none.
        """
        if self._names is None:
            self._names = names(self.claim, self.plan)
        return self._names

    @property
    def own_timeout(self) -> float | None:
        """Seconds this try may take as somebody has said: an operator for this task, the step, or the task type."""
        if self.claim.timeout_is_override:
            return self.claim.timeout
        return self.step.timeout if self.step.timeout is not None else self.claim.timeout

    @property
    def elapsed(self) -> float:
        """Seconds since this try began, on the clock of the database."""
        return self.claim.elapsed_seconds - self.began


@dataclass(frozen=True, slots=True)
class Waits:
    """An attempt ends here because its task waits for something else than a worker.

    Attributes:
        kind: `scope`, `timer`, `signal`, `approval` or `child`.
        fields: What that kind needs to know (sql/functions/waiting.sql).
        deadline: Seconds from the beginning of the try after which it is resumed anyway; None = never.
        state: Handed back with the resumption.
    """

    kind: str
    fields: Mapping[str, Any]
    deadline: float | None = None
    state: Any = None


@dataclass(frozen=True, slots=True)
class Resumed:
    """What came of what a task has waited for.

    Attributes:
        awaits: What that was.
        due: Whether its deadline or time has passed. What it waits for may have come all the same.
        found: What its kind tells (sql/functions/waiting.sql).
        state: As it was given to `Waits`.
        catching: What `catching` keeps while the steps of a catch run.
    """

    awaits: Mapping[str, Any]
    due: bool
    found: Mapping[str, Any]
    state: Any
    catching: Mapping[str, Any] | None

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Resumed:
        kept = data["awaits"].get("state") or {}
        return cls(data["awaits"], bool(data.get("due")), data, kept.get("own"), kept.get("catching"))


def began(claim: Claim) -> float:
    """When this try began: now, or before it first waited."""
    if claim.resumed is None:
        return claim.elapsed_seconds
    kept = claim.resumed.get("awaits", {}).get("state") or {}
    return float(kept.get("began", claim.elapsed_seconds))
