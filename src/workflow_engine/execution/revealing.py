"""Secrets of one attempt: read when its inputs ask for them, and taken out of what is told and stored of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workflow_engine.definition.plan import PlanStep
from workflow_engine.errors import TaskError
from workflow_engine.redaction import SHORTEST, SHORTEST_TOLD, Form, concealed, forms_of, without
from workflow_engine.secrets import Secrets


class Revealed(dict[str, Any]):
    """`secrets` as expressions see it: a mapping that knows a secret once it was asked for.

    A dict, because expressions walk and copy only those. For any thread.
    """

    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets
        self._concealed: frozenset[str] = frozenset()

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> str:
        if not super().__contains__(name):
            value = self._secrets.get(name)
            if value is None:
                raise TaskError(
                    "expression",
                    f"There is no secret {name} on this worker: set WORKFLOW_SECRET_{name}, or mount it.",
                    retryable=False,
                )
            self[name] = value
            self.conceal(value)
            concealed.conceal(value)  # whoever logs it, from now on
        return str(super().__getitem__(name))

    def conceal(self, *values: str) -> None:
        """Treat other values as secrets of this attempt, too."""
        self._concealed = self._concealed.union(values)

    @property
    def any(self) -> bool:
        """Whether there is anything to take out."""
        return bool(self._concealed)

    def redacted(self, error: TaskError) -> TaskError:
        """The error without secrets: those of this attempt and all others that the process knows."""
        told = concealed.told([error.type, error.message, error.details], self._forms(SHORTEST_TOLD))
        if told == [error.type, error.message, error.details]:
            return error
        return TaskError(told[0], told[1], retryable=error.retryable, retry_after=error.retry_after, details=told[2])

    def told(self, fields: Any) -> Any:
        """What is logged, without the secrets of this attempt."""
        return without(fields, self._forms(SHORTEST_TOLD))

    def stored(self, value: Any) -> Any:
        """An output or a record without the secrets of this attempt: a target may have repeated them."""
        return without(value, self._forms(SHORTEST)) if self._concealed else value

    def _forms(self, shortest: int) -> Sequence[Form]:
        return forms_of(self._concealed, shortest)


def reads_secrets(step: PlanStep) -> bool:
    """Whether the inputs of a step name a secret."""
    return step.inputs is not None and step.inputs.mentions_secrets
