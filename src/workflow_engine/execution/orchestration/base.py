"""What a type is that the engine does itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from workflow_engine.definition.plan import CompiledDefinition
from workflow_engine.errors import TIMEOUT_MESSAGE, TaskError
from workflow_engine.execution.attempt import Attempt, Resumed, Waits
from workflow_engine.execution.inherited import InheritedError
from workflow_engine.handlers.base import Outcome
from workflow_engine.handlers.inputs import Inputs, parse_inputs


class Definitions(Protocol):
    """What steps that start children need of definitions."""

    async def register(self, definition: CompiledDefinition) -> int:
        """Store a definition and give the number of its version."""

    async def input_schema(self, name: str, version: int | None) -> Mapping[str, Any] | None:
        """What the input of a start must fit, by default of the version that a name alone means; None = anything."""


Move: TypeAlias = Outcome | Waits
"""How a beginning or a resumption ends: with a result, or with something to wait for."""

M = TypeVar("M", bound=Inputs)


@dataclass(frozen=True, slots=True)
class Orchestrated:
    """One such type. Both functions raise `TaskError` to fail.

    Attributes:
        begin: At the first claim of a try.
        resume: When what it waits for has come, or its deadline.
        description: One line for listings.
    """

    type: str
    begin: Callable[[Attempt, Definitions | None], Awaitable[Move]]
    resume: Callable[[Attempt, Resumed], Awaitable[Move]]
    description: str


async def never_resumed(attempt: Attempt, resumed: Resumed) -> Move:
    """For types that never wait."""
    raise AssertionError(f"{attempt.step.type} does not wait")


def inputs_of(attempt: Attempt, model: type[M]) -> M:
    """The step's own fields, rendered and validated.

    Raises:
        TaskError: `expression` or `validation`.
    """
    template = attempt.step.inputs
    return parse_inputs(model, template.render(attempt.names) if template is not None else {})


def scope_of(attempt: Attempt, resumed: Resumed) -> Mapping[str, Any]:
    """What came of the scopes a task has waited for, if they ended well.

    Raises:
        TaskError: That of the task that failed them; `timeout` when they are not through yet.
    """
    found = resumed.found
    if not found.get("ended"):
        raise time_is_up(resumed, attempt.own_timeout)
    if found["status"] != "succeeded":
        raise InheritedError(found["error"])
    return found


def steps_inside(resumed: Resumed | None) -> Mapping[str, Any]:
    """The results of steps inside a step that its own expressions may read when these have ended."""
    return resumed.found.get("steps") or {} if resumed is not None else {}


def time_is_up(resumed: Resumed, timeout: float | None) -> TaskError:
    """The error of a step whose time was over before what it waits for had come."""
    what = {"scope": "its steps", "child": "its workflow", "signal": "a signal", "approval": "an answer"}
    kind = str(resumed.awaits.get("kind"))
    details = {"kind": "start_to_close", "timeout": timeout}
    message = f"{TIMEOUT_MESSAGE} while it waited for {what.get(kind, kind)}"
    return TaskError("timeout", message, details={name: value for name, value in details.items() if value is not None})
