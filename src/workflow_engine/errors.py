"""Every error the engine raises on purpose, in one tree.

EngineError
├── SettingsInvalid            a value in the environment is wrong (exit 2)
├── HandlerInvalid             a handler cannot be registered (exit 2)
├── DefinitionInvalid          a document was refused, with the places
│   └── CircularDependency     its steps wait for each other
├── InputInvalid               a parameter or body was refused, with the places
├── RequestRefused             it cannot be read, or asks for what is not served
├── Unauthorized               it is not known who asks
├── Forbidden                  who asks may not do this
├── NotFound
│   ├── DefinitionNotFound
│   ├── WorkflowNotFound
│   ├── TaskNotFound
│   ├── ScheduleNotFound
│   ├── TaskTypeNotFound
│   ├── ApprovalNotFound
│   ├── DeliveryNotFound
│   ├── WorkerNotFound
│   └── HandlerNotFound        nothing here serves this task type
├── Conflict
│   ├── InvalidTransition      the state does not allow it
│   ├── DefinitionDisabled
│   ├── PreconditionFailed     it was changed since it was read
│   ├── IdempotencyKeyReused   same key, other request
│   ├── AlreadyStarted         the definition rejects a second start with this key
│   ├── ConcurrencyLimit       as many workflows with this key run as may
│   ├── BudgetExceeded         it is paused, and its budget is used up
│   ├── KeyMissing             a start lacks what a key of its definition is made of
│   └── TooManySignals         a workflow has as many that nothing took as it may
├── EnginePaused               it accepts nothing new for now
├── Overloaded                 more waits than may; try again after `retry_after`
│   └── RateLimited            this caller asks too often
├── StoreUnavailable           Postgres cannot be reached; nothing was changed, or the outcome is unknown
├── RedisUnavailable           Redis is away or refuses; never told to a caller of the API
├── StackUnavailable           the embedded servers cannot run here
├── ServerUnreachable          the engine that a command speaks to does not answer (exit 3)
├── ServerRefused              it answers with an error
└── TaskError                  one attempt of a task failed

`code` is the slug of the problem type (RFC 9457) that the API answers with; the HTTP status belongs to
`api/problems.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TIMEOUT_MESSAGE = "Task exceeded maximum runtime"
"""What operators search the logs for; every message about an attempt that took too long begins with it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a document: where (JSON Pointer), which kind, and what to do about it."""

    pointer: str
    code: str
    message: str


class EngineError(Exception):
    """Something the engine refuses or cannot do."""

    code = "internal-error"

    def __init__(self, detail: str | None = None, *, hint: str | None = None) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip()
        self.hint = hint
        super().__init__(self.detail)


class SettingsInvalid(EngineError):
    """A setting has a value that is not accepted."""

    code = "settings-invalid"


class HandlerInvalid(EngineError):
    """A handler cannot be registered."""

    code = "handler-invalid"


class _Faulty(EngineError):
    """`code` is that of the faults when all have the same, else the class's."""

    def __init__(self, faults: Sequence[Fault], detail: str | None = None) -> None:
        self.faults = tuple(faults)
        kinds = {fault.code for fault in self.faults}
        if len(kinds) == 1:
            self.code = kinds.pop()
        super().__init__(detail or "; ".join(f"{f.pointer or '/'}: {f.message}" for f in self.faults[:3]))


class InputInvalid(_Faulty):
    """The request was refused; `faults` name the places."""

    code = "validation-error"


class DefinitionInvalid(_Faulty):
    """The definition was refused; `faults` name the places."""

    code = "validation-error"


class CircularDependency(DefinitionInvalid):
    """Steps wait for each other in a circle."""

    code = "cycle-detected"

    def __init__(self, cycle: Sequence[str], pointer: str = "/steps") -> None:
        self.cycle = tuple(cycle)
        path = " -> ".join(self.cycle)
        super().__init__(
            [Fault(pointer, self.code, f"Circular dependency detected: {path}. Remove one of these dependencies.")],
            f"Circular dependency detected: {path}",
        )


class RequestRefused(EngineError):
    """What was sent cannot be served as it was sent.

    Args:
        code: A slug of `api.problem_types`.
        detail: One sentence about it.
        hint: What to do about it.
    """

    def __init__(self, code: str, detail: str, *, hint: str | None = None) -> None:
        self.code = code
        super().__init__(detail, hint=hint)


class Unauthorized(EngineError):
    """It is not known who asks.

    Args:
        reason: One word for metrics: `missing`, `invalid`, `expired` or `revoked`.
        detail: One sentence about it.
        hint: What to do about it.
        key_id: Of the key that was good once.
        principal: Its name.
    """

    code = "unauthorized"

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        hint: str | None = None,
        key_id: str | None = None,
        principal: str | None = None,
    ) -> None:
        self.reason = reason
        self.key_id = key_id
        self.principal = principal
        super().__init__(detail, hint=hint)


class Forbidden(EngineError):
    """Who asks may not do this.

    Args:
        detail: One sentence about it.
        scope: What is missing, where a scope is.
        hint: What to do about it.
    """

    code = "forbidden"

    def __init__(self, detail: str, *, scope: str | None = None, hint: str | None = None) -> None:
        self.scope = scope
        super().__init__(detail, hint=hint)


class NotFound(EngineError):
    """There is no such thing."""

    code = "not-found"


class DefinitionNotFound(NotFound):
    """Workflow definition not found."""

    code = "definition-not-found"


class WorkflowNotFound(NotFound):
    """There is no workflow with this id."""

    code = "workflow-not-found"


class TaskNotFound(NotFound):
    """There is no task with this id."""

    code = "task-not-found"


class ScheduleNotFound(NotFound):
    """There is no schedule with this name."""

    code = "schedule-not-found"


class TaskTypeNotFound(NotFound):
    """There is no task type with this name."""

    code = "task-type-not-found"


class ApprovalNotFound(NotFound):
    """There is no approval with this id."""

    code = "approval-not-found"


class DeliveryNotFound(NotFound):
    """Nothing with this id is in the outbox."""

    code = "delivery-not-found"


class WorkerNotFound(NotFound):
    """There is no worker with this id."""

    code = "worker-not-found"


class HandlerNotFound(NotFound):
    """No handler is registered for this task type."""

    code = "handler-not-found"


class Conflict(EngineError):
    """The request contradicts the present state."""

    code = "conflict"


class InvalidTransition(Conflict):
    """The present state does not allow this."""

    code = "invalid-transition"


class DefinitionDisabled(Conflict):
    """The definition was deleted; it starts nothing new."""

    code = "definition-disabled"


class PreconditionFailed(Conflict):
    """It was changed since it was read."""

    code = "precondition-failed"


class IdempotencyKeyReused(Conflict):
    """The idempotency key was used before with another request."""

    code = "idempotency-key-reused"


class WorkflowInTheWay(Conflict):
    """Another workflow does not allow this; `workflow_id` names it."""

    workflow_id: str | None = None


class AlreadyStarted(WorkflowInTheWay):
    """The definition rejects a second start with this key."""

    code = "already-started"


class ConcurrencyLimit(WorkflowInTheWay):
    """As many workflows with this key run as may at a time."""

    code = "concurrency-limit"


class BudgetExceeded(Conflict):
    """Its budget is used up."""

    code = "budget-exceeded"


class KeyMissing(Conflict):
    """The start lacks what a key of its definition is made of."""

    code = "key-missing"


class TooManySignals(Conflict):
    """The workflow has too many signals that no step has taken."""

    code = "too-many-signals"


class Overloaded(EngineError):
    """More waits than may.

    Args:
        detail: What of it.
        retry_after: Seconds, until it may be better.
    """

    code = "overloaded"

    def __init__(self, detail: str, *, retry_after: int, hint: str | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(detail, hint=hint)


class RateLimited(Overloaded):
    """This caller asks too often."""

    code = "rate-limited"


class EnginePaused(EngineError):
    """The engine is paused: it accepts nothing new."""

    code = "engine-paused"


class StoreUnavailable(EngineError):
    """Postgres cannot be reached."""

    code = "unavailable"


class RedisUnavailable(EngineError):
    """Redis cannot be reached."""


class StackUnavailable(EngineError):
    """The embedded servers cannot be started."""

    code = "unavailable"


class ServerUnreachable(EngineError):
    """The engine does not answer."""

    code = "unavailable"


class ServerRefused(EngineError):
    """The engine refused a request.

    Args:
        status: The HTTP status of its answer.
        detail: Its own words.
        hint: What it says to do about it.
    """

    code = "server-refused"

    def __init__(self, status: int, detail: str, *, hint: str | None = None) -> None:
        self.status = status
        super().__init__(detail, hint=hint)


class TaskError(EngineError):
    """One attempt of a task failed.

    Handlers raise it to say what happened and whether another attempt can help. Any other exception of a handler
    becomes a retryable `user.<ClassName>`.

    Args:
        type: Family and kind, such as `timeout`, `http.503`, `user.card_declined`. Retry policies match on it.
        message: One sentence for the operator.
        retryable: Whether another attempt may succeed.
        retry_after: Seconds the target asked us to wait, if it did.
        details: JSON-able facts that help to find the cause.
    """

    code = "task-error"

    def __init__(
        self,
        type: str,
        message: str,
        *,
        retryable: bool = True,
        retry_after: float | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        self.type = type
        self.message = message
        self.retryable = retryable
        self.retry_after = retry_after
        self.details = dict(details or {})
        super().__init__(message)

    def as_json(self, attempt: int) -> dict[str, Any]:
        """The error object of the definition language, the same wherever an error is shown."""
        return {
            "type": self.type,
            "message": self.message,
            "retryable": self.retryable,
            "attempt": attempt,
            "details": self.details,
        }
