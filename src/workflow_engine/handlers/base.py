"""What a handler is: an async function from rendered inputs to an output.

    async def handle(inputs: dict[str, Any], ctx: TaskContext) -> Any

It returns JSON-able data (the output), or an `Outcome` where the way of storing matters, and raises `TaskError` to
fail. It may run more than once for the same task, so it should pass `ctx.idempotency_key` to whatever it changes.
It is cancelled (`asyncio.CancelledError`) when its timeout passes, its lease is lost, or its workflow is cancelled.
A sync function runs in a thread, which cannot be cancelled: a long one asks `ctx.cancelled.is_set()` now and then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


_ABSURD = 1e15  # of tokens or dollars


@dataclass(slots=True)
class Usage:
    """What an attempt used up. It counts into the workflow's budget, however the attempt ends."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0

    def add(self, *, input_tokens: int | None = 0, output_tokens: int | None = 0, cost_usd: float | None = 0.0) -> None:
        """Count something more; None counts as nothing, as some models do not tell.

        Raises:
            ValueError: One of them is no number that can be counted.
        """
        counted = int(input_tokens or 0), int(output_tokens or 0), float(cost_usd or 0.0)
        if not all(0 <= amount < _ABSURD for amount in counted):
            raise ValueError("usage must be numbers of 0 and above")
        self.input_tokens += counted[0]
        self.output_tokens += counted[1]
        self.cost_usd += counted[2]

    def as_json(self) -> dict[str, int | float]:
        """What was used; empty when nothing was."""
        if not (self.input_tokens or self.output_tokens or self.cost_usd):
            return {}
        used = {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens, "cost_usd": self.cost_usd}
        return {name: amount for name, amount in used.items() if amount}


_making_event = Lock()


def unheard() -> None:
    """A heartbeat that nobody listens for."""


def _conceal_nothing(*values: str) -> None:
    """Where nothing is kept of an attempt."""


def _as_it_is(value: Any) -> Any:
    return value


@dataclass(slots=True)
class TaskContext:
    """Who is asking: the attempt a handler works for. Read-only."""

    workflow_id: str
    workflow_name: str
    workflow_version: int
    task_id: str
    step: str  # the step's id
    path: str  # equals `step`, or names the place inside a scope: `process[3].fetch`
    attempt: int  # from 1
    idempotency_key: str  # `<workflow_id>/<path>`: the same for every attempt of this task
    timeout: float  # seconds this attempt may take
    dependencies: Mapping[str, Any]  # outputs of the direct dependencies that succeeded, by step id
    lease_token: str  # proves the right to complete; only the `database` handler needs it
    log: FilteringBoundLogger
    heartbeat: Callable[[], None] = unheard  # call it now and then where the step has `timeouts.heartbeat`
    usage: Usage = field(default_factory=Usage)  # `usage.add(input_tokens=.., output_tokens=.., cost_usd=..)`
    accepts: Callable[[Any], bool] | None = None  # the step's `success_when`; only the `http` handler needs it
    conceal: Callable[..., None] = _conceal_nothing  # `conceal(token)`: keep this out of all that is stored and logged
    redact: Callable[[Any], Any] = _as_it_is  # does so to an output; only the `database` handler needs it
    traceparent: str | None = None  # W3C Trace Context, for requests that the handler makes itself; None: no trace
    _cancelled: Event | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def cancelled(self) -> Event:
        """Set when nobody waits for a sync handler any more. Made when first asked for, by whichever thread."""
        if self._cancelled is None:
            with _making_event:
                self._cancelled = self._cancelled or Event()
        return self._cancelled


@dataclass(frozen=True, slots=True)
class Outcome:
    """An output with a word on how it is stored.

    Attributes:
        output: JSON-able data, as if it had been returned alone.
        record: When given, stored as a row of `workflow.records` in the commit that completes the task.
        effects: What else happens in that commit: `emit`, `terminate`. For the engine's own types.
        settled: The handler completed the task itself, in the transaction that did its work
            (`SELECT workflow.complete_task(...)`): the worker must not complete it again.
    """

    output: Any
    record: Any = field(default=None)
    effects: Mapping[str, Any] | None = None
    settled: bool = False


Handle: TypeAlias = Callable[[dict[str, Any], TaskContext], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Handler:
    """A registered handler and its defaults.

    Attributes:
        type: The task type it serves.
        handle: The code; sync functions are wrapped to run in a thread.
        timeout: Seconds, or None for the engine's default. Steps and task types override it.
        max_attempts: Tries in all, or None for the engine's default.
        description: One line for listings.
    """

    type: str
    handle: Handle
    timeout: float | None = None
    max_attempts: int | None = None
    description: str = ""
