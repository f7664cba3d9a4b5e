"""W3C Trace Context: which span something belongs to, as one line of text (`traceparent`).

A workflow keeps the one it was started with. Whoever runs a step hands it on, whether or not this process writes spans.
"""

from __future__ import annotations

import re
from contextvars import ContextVar

_FORM = re.compile(
    r"(?:00-(?P<first>[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})"
    r"|(?!00|ff)[0-9a-f]{2}-(?P<later>[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})(?:-.*)?)"
)
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16

outgoing: ContextVar[str | None] = ContextVar("outgoing traceparent", default=None)
"""What requests to others carry, here and in what is called from here; None: nothing."""


def read_traceparent(text: str | None) -> str | None:
    """A `traceparent` in the form of version 00, or None for what is none: it is then as if nothing had been sent."""
    found = _FORM.fullmatch(text) if text else None
    if found is None:
        return None
    fields: str = found["first"] or found["later"]
    trace_id, span_id, _ = fields.split("-")
    return None if trace_id == _NO_TRACE or span_id == _NO_SPAN else f"00-{fields}"


def write_traceparent(trace_id: str, span_id: str, flags: int) -> str:
    return f"00-{trace_id}-{span_id}-{flags:02x}"


def trace_of(traceparent: str) -> str:
    """The id of its trace."""
    return traceparent[3:35]


def span_of(traceparent: str) -> str:
    """The id of its span."""
    return traceparent[36:52]


def trace_fields(traceparent: str | None) -> dict[str, str]:
    """What a log line says of it."""
    return {} if traceparent is None else {"trace_id": trace_of(traceparent), "span_id": span_of(traceparent)}


def flags_of(traceparent: str) -> int:
    return int(traceparent[53:55], 16)
