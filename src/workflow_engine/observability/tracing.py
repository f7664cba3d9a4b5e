"""Whether this process writes spans, and what its code says while one is open. Imports nothing of OpenTelemetry.

Off, which is the default, a step costs a comparison. On (docs/traces.md), `spans.py` makes and sends them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, Protocol

from workflow_engine.observability.logs import get_logger
from workflow_engine.settings import Settings

if TYPE_CHECKING:
    from workflow_engine.observability.spans import Spans

Role = Literal["engine", "worker"]
Kind = Literal["client", "internal"]
INSTALL = "pip install 'workflow-engine[otel]'"


class Notes(Protocol):
    """What traced code may say, whether or not anybody listens."""

    @property
    def traceparent(self) -> str | None:
        """What requests carry that are made here; None: as if there were no span."""

    def note(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes; those that are None are left out."""

    def failed(self, error_type: str) -> None:
        """It went wrong, though nothing is raised."""


class _Unheard:
    traceparent: str | None = None

    def note(self, attributes: Mapping[str, Any]) -> None:
        """Nobody listens."""

    def failed(self, error_type: str) -> None:
        """Nobody listens."""


_UNHEARD: nullcontext[Notes] = nullcontext(_Unheard())


class _Process:
    spans: Spans | None = None


def spans() -> Spans | None:
    """What makes the spans of this process; None: it makes none."""
    return _Process.spans


def span(name: str, attributes: Mapping[str, Any], *, kind: Kind = "client") -> AbstractContextManager[Notes]:
    """Make what is done inside a span, part of the attempt that does it. What is raised inside ends it as failed."""
    return _UNHEARD if _Process.spans is None else _Process.spans.around(name, attributes, kind)


@contextmanager
def tracing(settings: Settings, *, role: Role, instance: str) -> Iterator[Spans | None]:
    """Write spans while the context is open, if the environment asks for it; at its end send what is left.

    What is wrong with the environment is one warning: work does not depend on being watched.

    Args:
        settings: The `OTEL_*` ones are used.
        role: Of the process: the default name of its service.
        instance: Which of those that have the role.
    """
    opened = _Process.spans = _open(settings, role, instance)
    try:
        yield opened
    finally:
        _Process.spans = None
        if opened is not None:
            opened.close()


def _open(settings: Settings, role: Role, instance: str) -> Spans | None:
    if settings.traces_exporter == "none":
        return None
    log = get_logger("tracing")
    try:
        from workflow_engine.observability.spans import open_spans

        opened = open_spans(settings, role, instance)
    except ImportError as error:
        log.warning("no traces: a package is missing", missing=error.name, hint=INSTALL)
        return None
    except ValueError as error:
        log.warning("no traces", error=str(error))
        return None
    log.info("traces are written", exporter=settings.traces_exporter, service=opened.service)
    return opened
