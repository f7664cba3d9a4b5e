"""The header `traceparent` (W3C Trace Context), where a workflow is started."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflow_engine.observability.trace_context import read_traceparent

_NAME = b"traceparent"

TRACEPARENT: dict[str, Any] = {
    "name": "traceparent",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The caller's span, by W3C Trace Context: what is started belongs to its trace."
    " One that is malformed counts as none.",
    "example": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}
"""For the OpenAPI document of an operation."""


def traceparent_of(scope: Mapping[str, Any]) -> str | None:
    """The span of whoever sends a request; None where it tells none, or none that can be read."""
    given = [value for name, value in scope["headers"] if name == _NAME]
    return read_traceparent(given[0].decode("latin-1")) if len(given) == 1 else None
