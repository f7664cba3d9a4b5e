"""The error of another task or workflow, taken over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflow_engine.errors import TaskError


class InheritedError(TaskError):
    """A failed block, map or child has the error of the task that failed it: it is shown as that one had it."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        super().__init__(
            document.get("type", "failed"),
            document.get("message", ""),
            retryable=bool(document.get("retryable")),
            details=document.get("details"),
        )
        self._document = dict(document)

    def as_json(self, attempt: int) -> dict[str, Any]:
        return {**super().as_json(attempt), **self._document}
