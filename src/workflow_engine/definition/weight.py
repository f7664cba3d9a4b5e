"""Whether an expression is cheap for sure: by what it does, and by how much it does it to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LINEAR_WORK = 4_000_000
_PRODUCT = 20_000_000
"""Steps that are done where they are asked for: less than half a second and 20 MB at the worst, measured."""

LINEAR = frozenset(
    {"_+_", "_-_", "_*_", "_/_", "_%_", "-_", "!_", "_&&_", "_||_", "_?_:_", "_==_", "_!=_", "_<_", "_<=_", "_>_"}
    | {"_>=_", "@in", "_[_]", "_[?_]", "_?._", "@not_strictly_false", "size", "int", "uint", "double", "string", "bool"}
    | {"dyn", "type", "startsWith", "endsWith", "lowerAscii", "upperAscii", "trim", "charAt", "substring", "sum"}
    | {"orValue", "or", "hasValue", "value", "optional.of", "optional.none", "optional.ofNonZeroValue"}
)
"""Functions whose work and result are no larger than their arguments. All others may multiply them."""


def is_cheap(data: Mapping[str, Any], *, mentions: int, multiplies: int, length: int) -> bool:
    """Whether an evaluation is cheap.

    Args:
        data: What it reads, once however often it reads it.
        mentions: How often it names something.
        multiplies: Its macros over lists and its functions that may multiply what they get.
        length: Of its text, whose literals count as data.
    """
    most = _LINEAR_WORK // max(mentions, 1)
    if multiplies:
        # Each may do as much as there is to each part of what there is.
        most = min(most, int(_PRODUCT ** (1 / (1 + multiplies))) - length)
    return measure(data, most) <= most


_NODE = 16  # a number or an element weighs as much as so many characters


def measure(data: Any, most: int) -> int:
    """How much data there is, about its length in JSON; anything above `most` where it is more than that."""
    found, todo = 0, [data]
    while todo and found <= most:
        value = todo.pop()
        found += _NODE
        if isinstance(value, str):
            found += len(value)
        elif isinstance(value, Mapping):
            found += _NODE * len(value) + sum(map(len, value)) if len(value) <= most else most
            todo.extend(value.values())
        elif isinstance(value, list):
            found += _NODE * len(value)
            if found <= most:
                todo.extend(value)
    return found
