"""Documents are JSON data that every reader and the database can keep: its limits, and its content hash."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import orjson

from workflow_engine.definition.faults import Faults, clipped, join

MAX_DEPTH = 64
MAX_PROPERTIES = 10_000
"""Of one object."""
MAX_INTEGER = 2**53 - 1
"""Either way: what every JSON reader keeps exact."""

_Place: TypeAlias = "tuple[_Place, str | int] | None"


def content_hash(document: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the document as canonical JSON: keys sorted, no spaces. Equal content, equal hash."""
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()


def check_values(document: Mapping[str, Any], faults: Faults) -> None:
    """Note what is out of bounds: depth, numbers, characters, sizes, and Python values that are no JSON data."""
    open_values: list[tuple[_Place, Any, int]] = [(None, document, 1)]
    while open_values and not faults.full:
        place, value, depth = open_values.pop()
        if problem := _problem(value, depth):
            faults.add(_pointer(place), *problem)
        elif isinstance(value, dict):
            for key, item in value.items():
                if not isinstance(key, str):
                    faults.add(_pointer(place), "validation-error", f"the key {clipped(key)} is not a string")
                elif not _is_plain(key) and (problem := _problem(key, depth)):
                    faults.add(_pointer(place), *problem)
                elif not _is_plain(item):
                    open_values.append(((place, key), item, depth + 1))
        elif isinstance(value, list):
            open_values += [((place, at), item, depth + 1) for at, item in enumerate(value) if not _is_plain(item)]


def _is_plain(value: Any) -> bool:
    """Whether there is nothing to look at, as of nearly all values: a usual text, true, false or null."""
    if type(value) is str:
        return value.isascii() and "\0" not in value
    return value is None or value is True or value is False


def _problem(value: Any, depth: int) -> tuple[str, str] | None:
    """The code and the message of what is wrong with one value, not looking into it."""
    problem = None
    if isinstance(value, str):
        if "\0" in value or not _encodable(value):
            problem = "invalid-character", "holds a NUL or half of a surrogate pair"
    elif isinstance(value, dict | list):
        if depth > MAX_DEPTH:
            problem = "nesting-too-deep", f"is nested deeper than {MAX_DEPTH} levels"
        elif isinstance(value, dict) and len(value) > MAX_PROPERTIES:
            problem = "too-many-properties", f"has more than {MAX_PROPERTIES:,} fields"
    elif isinstance(value, float) and not math.isfinite(value):
        problem = "number-out-of-range", f"{value} is not a JSON number"
    elif isinstance(value, int) and abs(value) > MAX_INTEGER:
        problem = "number-out-of-range", "integers go up to 2^53 - 1 either way; write it as a string"
    elif value is not None and not isinstance(value, bool | int | float):
        problem = "validation-error", f"a {type(value).__name__} is not JSON data; quote it"
    return problem


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _pointer(place: _Place) -> str:
    keys: list[str | int] = []
    while place is not None:
        place, key = place
        keys.append(key)
    return join("", *reversed(keys))
