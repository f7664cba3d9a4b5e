"""What there is outside of a document that it may name."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """Names that a document may use.

    Attributes:
        task_types: Registered task types beside the built-in ones.
        secrets: None = not known here: every name is accepted.
        connections: Of `database` steps, beside the engine's own. None = not known here: every name is accepted.
    """

    task_types: Collection[str] = ()
    secrets: Collection[str] | None = None
    connections: Collection[str] | None = None
