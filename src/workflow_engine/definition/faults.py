"""Collecting what is wrong with a document: places as JSON Pointers, at most 50 faults, and "did you mean"."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from workflow_engine.errors import DefinitionInvalid, Fault, InputInvalid

MAX_FAULTS = 50
SUGGEST_AMONG = 2_000
"""Comparing with more names would cost more than the hint is worth."""


class Faults:
    """The faults of one document, in the order they were found."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def add(self, pointer: str, code: str, message: str) -> None:
        """Note a fault, unless there are enough already."""
        if not self.full:
            self.found.append(Fault(pointer, code, message))

    def add_from(self, pointer: str, error: InputInvalid | DefinitionInvalid) -> None:
        """Note the faults of a part, at the part's place."""
        for fault in error.faults:
            self.add(pointer + fault.pointer, fault.code, fault.message)

    def extend(self, other: Faults) -> None:
        """Note the faults that were collected apart."""
        for fault in other.found:
            self.add(fault.pointer, fault.code, fault.message)

    @property
    def full(self) -> bool:
        """Whether there are so many that looking for more helps nobody."""
        return len(self.found) >= MAX_FAULTS

    def __bool__(self) -> bool:
        return bool(self.found)


def join(pointer: str, *keys: str | int) -> str:
    """A JSON Pointer (RFC 6901) further down."""
    for key in keys:
        text = str(key)
        if "~" in text or "/" in text:
            text = text.replace("~", "~0").replace("/", "~1")
        pointer = f"{pointer}/{text}"
    return pointer


def did_you_mean(word: object, known: Collection[str]) -> str:
    """`; did you mean "x"?` for the known name nearest to a word, or nothing when none is near."""
    return next((f'; did you mean "{name}"?' for name in nearest(word, known)), "")


def nearest(word: object, known: Collection[str], *, most: int = 1) -> list[str]:
    """The known names nearest to a word, the best first; empty when none is near."""
    if not isinstance(word, str) or len(known) > SUGGEST_AMONG or len(word) > 128:
        return []
    # Case and the kind of dash are the most common slips, and no typo by difflib's measure when the word is short.
    folded = _fold(word)
    same = [name for name in known if _fold(name) == folded]
    return same[:most] or difflib.get_close_matches(word, known, n=most, cutoff=0.6)


def clipped(value: object, limit: int = 80) -> str:
    """A value as shown in a message: quoted, and never long."""
    text = repr(value[:limit] if isinstance(value, str) else value)
    return text if len(text) <= limit + 2 else text[:limit] + "…"


def _fold(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "").replace(" ", "")
