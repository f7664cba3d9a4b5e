"""Secrets in the inputs of one attempt: read when an expression asks for them, and taken out of what is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from workflow_engine.definition.plan import PlanStep
from workflow_engine.errors import TaskError
from workflow_engine.handlers.output import storable_text
from workflow_engine.secrets import Secrets

REDACTED = "***"
SHORTEST = 4
"""Characters of a secret that is taken out of texts; a shorter one would tear holes into words."""


class Revealed(dict[str, Any]):
    """`secrets` as expressions see it: a mapping that knows a secret once it was asked for.

    A dict, because expressions walk and copy only those.
    """

    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets

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
        return str(super().__getitem__(name))

    def redacted(self, error: TaskError) -> TaskError:
        """The error without the revealed secrets."""
        return TaskError(
            self.redact(error.type),
            self.redact(error.message),
            retryable=error.retryable,
            retry_after=error.retry_after,
            details=self.redact(error.details),
        )

    def redact(self, value: Any) -> Any:
        """JSON data, or what is logged, with the revealed secrets taken out of its texts."""
        shown = self._forms()
        return _redacted(value, shown) if shown else value

    def _forms(self) -> list[str]:
        """Each secret as it is and as it stands in URLs; the longest first, for one may hold another."""
        values = {value for value in self.values() if len(value) >= SHORTEST}
        return sorted({form for v in values for form in (v, quote(v, safe=""), quote_plus(v))}, key=len, reverse=True)


def reads_secrets(step: PlanStep) -> bool:
    """Whether the inputs of a step name a secret."""
    return step.inputs is not None and step.inputs.mentions_secrets


def _redacted(value: Any, forms: list[str]) -> Any:
    if isinstance(value, str):
        for form in forms:
            value = value.replace(form, REDACTED)
        return value
    if isinstance(value, Mapping):
        return {_redacted(key, forms): _redacted(item, forms) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item, forms) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = storable_text(value)  # as a log would write it
    return _redacted(text, forms) if any(form in text for form in forms) else value
