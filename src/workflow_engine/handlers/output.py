"""Encodes outputs as the JSON that PostgreSQL stores, and says where an output is not JSON.

JSON here is what orjson makes of Python (dict, list, tuple, str, int, float, bool, None; also dataclasses, enums, UUID,
date and time), less what `jsonb` or the expression language would refuse: non-finite floats, U+0000, lone surrogates,
integers outside 64 bits, more than 254 levels.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any

import orjson

from workflow_engine.errors import TaskError

_DEEPEST = 254  # levels of containers; where orjson gives up
_MANY_DIGITS = re.compile(rb"\d{19}")
_SURROGATE = re.compile("[\ud800-\udfff]")


def encode_output(output: Any, limit: int, *, what: str = "output") -> bytes:
    """Encode a handler's output.

    The usual case costs one pass of orjson; the walk through the value happens only when something looks wrong.

    Args:
        output: What the handler returned.
        limit: Most bytes of JSON.
        what: How the error calls it.

    Raises:
        TaskError: Not retryable. `serialization_error` names the JSON Pointer of the first value that is not JSON;
            `payload_too_large` when the JSON is longer than `limit`.
    """
    try:
        encoded = orjson.dumps(output)
    except TypeError as error:
        pointer, reason = _first_fault(output) or ("", f"is not JSON: {error}")
        raise _not_json(what, pointer, reason) from error
    if _suspicious(encoded, output) and (fault := _first_fault(output)) is not None:
        raise _not_json(what, *fault)
    if len(encoded) > limit:
        raise TaskError(
            "payload_too_large",
            f"The {what} is {len(encoded):,} bytes of JSON; the limit is {limit:,}. Store it and return a reference.",
            retryable=False,
            details={"bytes": len(encoded), "limit": limit},
        )
    return encoded


def find_fault(value: Any, limit: int) -> str | None:
    """Why a value cannot be stored, or None when it can. As `encode_output`, without raising."""
    try:
        encode_output(value, limit)
    except TaskError as error:
        return error.message
    return None


def _suspicious(encoded: bytes, output: Any) -> bool:
    """Whether the text shows a trace of something orjson lets through. May be wrong about innocent values."""
    if b"\\u0000" in encoded or _MANY_DIGITS.search(encoded):
        return True
    # orjson writes NaN and the infinities as null; they then differ from what comes back.
    return b"null" in encoded and orjson.loads(encoded) != output


def _not_json(what: str, pointer: str, reason: str) -> TaskError:
    place = f"The {what} at {pointer}" if pointer else f"The {what}"
    return TaskError(
        "serialization_error", f"{place} {reason}.", retryable=False, details={"pointer": pointer, "reason": reason}
    )


def _first_fault(output: Any) -> tuple[str, str] | None:
    """The first value in document order that is not JSON: its JSON Pointer and what is wrong with it."""
    todo: list[tuple[str, int, Any]] = [("", 0, output)]
    while todo:
        pointer, depth, value = todo.pop()
        if isinstance(value, Enum):
            value = value.value
        if (reason := _wrong_with(value, depth)) is not None:
            return pointer, reason
        children = [(f"{pointer}/{_escaped(name)}", depth + 1, child) for name, child in _children(value)]
        todo.extend(reversed(children))
    return None


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from ((str(index), child) for index, child in enumerate(value))
    elif dataclasses.is_dataclass(value):
        yield from ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))


def _wrong_with(value: Any, depth: int) -> str | None:
    """What keeps this value itself, its children aside, from being JSON."""
    if type(value) is tuple or isinstance(value, dict | list) or dataclasses.is_dataclass(value):
        if depth >= _DEEPEST:
            return f"is nested deeper than {_DEEPEST} levels"
        return next(filter(None, map(_wrong_with_key, value)), None) if isinstance(value, dict) else None
    return _wrong_with_leaf(value)


def _wrong_with_leaf(value: Any) -> str | None:
    if isinstance(value, str):
        return _wrong_with_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f"is {value}, which JSON does not have"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "is an integer outside 64 bits; return it as a string"
    try:
        orjson.dumps(value)
    except TypeError:
        return f"is a {type(value).__name__}, which is not JSON"
    return None


def _wrong_with_key(key: Any) -> str | None:
    if type(key) is not str:
        return f"has a key that is a {type(key).__name__}; keys must be plain strings"
    reason = _wrong_with_text(key)
    return f"has a key that {reason}" if reason else None


def _wrong_with_text(text: str) -> str | None:
    if "\x00" in text:
        return "contains U+0000, which PostgreSQL cannot store"
    if _SURROGATE.search(text):
        return "contains half of a surrogate pair, which is not a character"
    return None


def _escaped(token: str) -> str:
    """A token of a JSON Pointer (RFC 6901)."""
    return storable_text(token.replace("~", "~0").replace("/", "~1"), longest=100)


def storable_text(value: Any, longest: int = 4000) -> str:
    """The text of anything, as PostgreSQL takes it: no U+0000, no lone surrogates, clipped to `longest` characters."""
    try:
        text = str(value)
    except Exception:  # a broken __str__ may raise anything
        text = f"<unprintable {type(value).__name__}>"
    text = text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
