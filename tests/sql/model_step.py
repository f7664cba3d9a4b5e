"""A step of a modelled workflow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Step:
    after: list[str]  # all dependencies
    ordering: list[str] = field(default_factory=list)  # those of them that only order
    tolerated: bool = False
    script: list[str] = field(default_factory=list)  # outcomes of its attempts, the last one final; then it succeeds
    rule: str = "auto"
    least: int | None = None  # of min_success
    on: Mapping[str, list[str]] = field(default_factory=dict)  # task statuses it asks for, by dependency
    cases: Mapping[str, list[str]] = field(default_factory=dict)  # cases of switches it asks for
    chooses: list[str] = field(default_factory=list)  # its own cases, if it is a switch

    @property
    def spec(self) -> dict[str, Any]:
        """As `Engine.define` takes it."""
        rule = None if self.rule == "auto" else self.rule
        same = ("after", "ordering", "tolerated", "least", "on", "cases")
        return {"rule": rule, **{name: getattr(self, name) for name in same}}
