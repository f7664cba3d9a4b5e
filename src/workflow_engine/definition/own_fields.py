"""The own fields of a step: those that only its type has."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from workflow_engine.definition.faults import Faults


@dataclass(frozen=True, slots=True)
class OwnFields:
    """The own fields of one step, with their places (flat style and `inputs` differ).

    Attributes:
        common: Names that mean something else on the step itself, and so stand under `inputs` only.
        connections: Known ones of `database` steps; None = any.
    """

    values: Mapping[str, Any]
    places: Mapping[str, str]
    pointer: str  # of the step
    faults: Faults
    warnings: Faults
    common: Collection[str] = ()
    connections: Collection[str] | None = None

    def has(self, *names: str) -> bool:
        """Whether at least one of these fields is given."""
        return any(name in self.values for name in names)

    def refuse(self, name: str, message: str, code: str = "validation-error") -> None:
        self.faults.add(self.places.get(name, self.pointer), code, message)
