"""The header `traceparent` (W3C Trace Context), where a workflow is started."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from workflow_engine.observability.trace_context import read_traceparent

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


def traceparent_of(request: Request) -> str | None:
    """The caller's span; None where it tells none, or none that can be read."""
    given = request.headers.getlist("traceparent")
    return read_traceparent(given[0]) if len(given) == 1 else None
