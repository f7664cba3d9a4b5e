"""Reading the fields of one JSON object: each has a kind and a range, and whatever is wrong is noted with its place."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from workflow_engine.definition.durations import parse_duration
from workflow_engine.definition.faults import Faults, clipped, did_you_mean, join
from workflow_engine.definition.scope import json_type
from workflow_engine.errors import InputInvalid

MAX_TEXT = 10_000
"""Characters of a description and the like."""


class Fields:
    """The fields of one object. A field that is null counts as absent; `x-*` fields are the author's own.

    Readers return None (or their default) for a field that is absent or wrong; the faults tell which.
    """

    __slots__ = ("faults", "pointer", "values")

    def __init__(self, values: Mapping[str, Any], pointer: str, faults: Faults) -> None:
        self.values = values
        self.pointer = pointer
        self.faults = faults

    def at(self, name: str) -> str:
        """The place of a field."""
        return join(self.pointer, name)

    def fault(self, name: str, code: str, message: str) -> None:
        self.faults.add(self.at(name), code, message)

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Note every field that is not known: a typo must not be silent."""
        for name in self.values:
            if name in known or name.startswith("x-"):
                continue
            hint = did_you_mean(name, known) or f"; known are {', '.join(known)}"
            self.fault(name, "unknown-property", f"unknown field {clipped(name)}{hint}")

    def get(self, name: str) -> Any:
        return self.values.get(name)

    def text(self, name: str, *, longest: int = MAX_TEXT) -> str | None:
        value: str | None = self._of_type(name, str, "a string")
        if value is not None and len(value) > longest:
            self.fault(name, "out-of-range", f"is longer than {longest:,} characters")
            return None
        return value

    def matching(self, name: str, pattern: re.Pattern[str], code: str, rule: str) -> str | None:
        """A string that must match a pattern as a whole; `rule` says in words what is accepted."""
        value: str | None = self._of_type(name, str, "a string")
        if value is not None and not pattern.fullmatch(value):
            self.fault(name, code, f"{clipped(value)} is not accepted: {rule}")
            return None
        return value

    def choice(self, name: str, choices: Collection[str]) -> str | None:
        value: str | None = self._of_type(name, str, "a string")
        if value is not None and value not in choices:
            hint = did_you_mean(value, choices) or f"; write one of {', '.join(choices)}"
            self.fault(name, "validation-error", f"{clipped(value)} is not accepted{hint}")
            return None
        return value

    def boolean(self, name: str) -> bool | None:
        value: bool | None = self._of_type(name, bool, "true or false")
        return value

    def integer(self, name: str, least: int, most: int) -> int | None:
        """An integer in a range; everything else, also `1.0`, is out of range."""
        value = self.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.fault(name, "out-of-range", f"must be an integer from {least:,} to {most:,}")
            return None
        return value

    def number(self, name: str, least: float, most: float) -> float | None:
        value = self.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            self.fault(name, "out-of-range", f"must be a number from {least:g} to {most:g}")
            return None
        return float(value)

    def duration(self, name: str, *, most: float, zero: bool = False) -> float | None:
        """Seconds; more than zero unless `zero` is allowed."""
        value = self.get(name)
        if value is None:
            return None
        try:
            seconds = parse_duration(value)
        except InputInvalid as error:
            self.faults.add_from(self.at(name), error)
            return None
        if seconds > most or (seconds == 0 and not zero):
            least = "zero" if zero else "more than zero"
            self.fault(name, "out-of-range", f"must be {least} up to {_spoken(most)}")
            return None
        return seconds

    def mapping(self, name: str) -> dict[str, Any] | None:
        value: dict[str, Any] | None = self._of_type(name, dict, "an object")
        return value

    def part(self, name: str) -> Fields | None:
        """The fields of a field that is an object."""
        value = self.mapping(name)
        return None if value is None else Fields(value, self.at(name), self.faults)

    def items(self, name: str) -> list[Any] | None:
        value: list[Any] | None = self._of_type(name, list, "a list")
        return value

    def names(self, name: str, pattern: re.Pattern[str], rule: str) -> Iterator[str]:
        """The strings of a list, those that match."""
        for index, value in enumerate(self.items(name) or ()):
            if isinstance(value, str) and pattern.fullmatch(value):
                yield value
            else:
                shown = clipped(value) if isinstance(value, str) else json_type(value)
                self.faults.add(join(self.at(name), index), "validation-error", f"{shown} is not accepted: {rule}")

    def _of_type(self, name: str, kind: type, what: str) -> Any:
        value = self.values.get(name)
        if value is None or isinstance(value, kind):
            return value
        self.fault(name, "validation-error", f"must be {what}, not {json_type(value)}")
        return None


def _spoken(seconds: float) -> str:
    hours = seconds / 3600
    return f"{seconds:g} seconds" if hours < 1 or not math.isclose(hours, round(hours)) else f"{round(hours)} hours"
