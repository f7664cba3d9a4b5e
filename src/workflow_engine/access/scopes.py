"""Scopes say what a key may do, roles are sets of them, and a principal is who asks.

`docs/security.md` has the table; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Scope(StrEnum):
    """What a route asks of who calls it. Each route declares exactly one."""

    OPEN = "open"  # nothing: for probes. Such a route tells strangers no more than that it is there
    ANY_KEY = "any-key"  # to be known
    WORKFLOWS_READ = "workflows:read"  # with tasks, traces, logs, approvals, schedules, locks, the outbox
    WORKFLOWS_START = "workflows:start"  # registered definitions; with steps it takes DEFINITIONS_WRITE, too
    WORKFLOWS_SIGNAL = "workflows:signal"
    WORKFLOWS_CONTROL = "workflows:control"  # cancel, retry, skip, pause, pin, budgets, locks, schedules
    APPROVALS_ANSWER = "approvals:answer"  # where the approval names assignees, only as one of them
    DEFINITIONS_READ = "definitions:read"
    DEFINITIONS_WRITE = "definitions:write"  # what workers do is what definitions say
    ENGINE_READ = "engine:read"  # workers, task types, alerts, settings that are no secrets, the whole of /health
    ENGINE_CONTROL = "engine:control"  # pause and resume the intake, reload, settings of task types, drain workers
    METRICS_READ = "metrics:read"
    AUDIT_READ = "audit:read"


X_SCOPE = "x-scope"
"""Under this name a route says which scope it asks for, also in the OpenAPI document."""


def declares(scope: Scope) -> dict[str, str]:
    """What a route gives as its `openapi_extra`; `operation` does so for those that are in the OpenAPI document."""
    return {X_SCOPE: scope.value}


class Role(StrEnum):
    """What operators give to keys."""

    VIEWER = "viewer"
    STARTER = "starter"
    OPERATOR = "operator"
    AUTHOR = "author"
    ADMIN = "admin"


_VIEWER = frozenset(
    {
        Scope.OPEN,
        Scope.ANY_KEY,
        Scope.WORKFLOWS_READ,
        Scope.DEFINITIONS_READ,
        Scope.ENGINE_READ,
        Scope.METRICS_READ,
    }
)
_STARTER = _VIEWER | {Scope.WORKFLOWS_START, Scope.WORKFLOWS_SIGNAL, Scope.APPROVALS_ANSWER}

ROLES: Mapping[Role, frozenset[Scope]] = {
    Role.VIEWER: _VIEWER,
    Role.STARTER: _STARTER,
    Role.OPERATOR: _STARTER | {Scope.WORKFLOWS_CONTROL, Scope.ENGINE_CONTROL},
    Role.AUTHOR: _STARTER | {Scope.WORKFLOWS_CONTROL, Scope.DEFINITIONS_WRITE},
    Role.ADMIN: frozenset(Scope),
}
"""The scopes of each role."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks.

    Attributes:
        name: That of the key; several keys of one name are the same principal. Empty: it is not known who asks.
        scopes: What it may do.
        key_id: Which of its keys was shown; None: none.
        roles: Those of that key.
        groups: What else it is called among the assignees of approvals.
        expires_at: When that key ends.
    """

    name: str
    scopes: frozenset[Scope]
    key_id: str | None = None
    roles: tuple[Role, ...] = ()
    groups: tuple[str, ...] = ()
    expires_at: datetime | None = None

    def may(self, scope: Scope) -> bool:
        """Whether it may do what asks for this scope."""
        return scope in self.scopes

    def may_answer_for(self, assignees: Collection[str]) -> bool:
        """Whether it is one of these. No assignees are everybody, and an admin stands in for all."""
        names = self.answers_as
        return not assignees or names is None or not names.isdisjoint(assignees)

    @property
    def answers_as(self) -> frozenset[str] | None:
        """As which assignees of approvals it may answer; None: as any."""
        if self.key_id is None or Role.ADMIN in self.roles:
            return None
        return frozenset({self.name, *self.groups})

    def signed(self, by: str | None) -> str | None:
        """Who is said to have done something that was done in the name of `by`: nobody can sign as somebody else."""
        if not self.name:
            return by
        return f"{by} via {self.name}" if by and by != self.name else self.name


ANYONE = Principal("", frozenset(Scope))
"""Who asks when authentication is off."""
NOBODY = Principal("", frozenset({Scope.OPEN}))
"""Who asks without a key when it is on."""
