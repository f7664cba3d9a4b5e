"""Texts as data: one strict decoder in front of everything that is sent to us, and of files.

JSON that two readers could understand differently (a repeated key, an integer beyond 2^53, half a surrogate pair) is
refused instead of guessed at. The decoder is the standard library's: its hooks see repeated keys and numbers as written
while it parses, at some 4 µs for a usual body and 11 ms for 1 MiB.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from workflow_engine.definition.faults import Faults, clipped
from workflow_engine.definition.json_data import MAX_DEPTH, MAX_INTEGER, MAX_PROPERTIES, check_values
from workflow_engine.definition.yaml_data import read_yaml
from workflow_engine.errors import DefinitionInvalid, Fault, InputInvalid, RequestRefused

_LONGEST_INTEGER = len(str(MAX_INTEGER)) + 1
# Escapes that may stand for what no text can hold; anything like them unescaped is refused by the decoders.
_SUSPICIOUS = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


def decode(raw: bytes, *, what: str = "The body") -> Any:
    """Strict JSON.

    Args:
        raw: The text.
        what: What it is, for messages.

    Raises:
        RequestRefused: It is no JSON, or an object has a key twice.
        InputInvalid: It is JSON that cannot be kept exactly.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise RequestRefused("malformed-json", f"{what} is not UTF-8: byte {error.start} is wrong.") from error
    hooks = _Hooks()
    try:
        value = json.JSONDecoder(
            object_pairs_hook=hooks.pairs,
            parse_int=hooks.integer,
            parse_float=hooks.number,
            parse_constant=hooks.constant,
        ).decode(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise RequestRefused("malformed-json", f"{what} is not JSON: {error.msg} at {place}.") from error
    except RecursionError as error:
        raise RequestRefused("nesting-too-deep", f"{what} is nested deeper than {MAX_DEPTH} levels.") from error
    if hooks.suspicious or text.count("[") + text.count("{") > MAX_DEPTH or _SUSPICIOUS.search(text):
        faults = Faults()
        check_values(value, faults)
        if faults:
            raise InputInvalid(faults.found)
    return value


def decode_yaml(raw: bytes, *, limit: int) -> Any:
    """Strict YAML, as JSON data.

    Args:
        raw: The text.
        limit: Most characters, aliases written out.

    Raises:
        DefinitionInvalid: It is no YAML, or could be read in two ways.
        InputInvalid: It holds what JSON cannot keep exactly.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        fault = Fault("", "malformed-yaml", f"it is not UTF-8: byte {error.start} is wrong")
        raise DefinitionInvalid([fault]) from error
    value = read_yaml(text, limit=limit)
    faults = Faults()
    check_values(value, faults)
    if faults:
        raise InputInvalid(faults.found)
    return value


class _Hooks:
    """Notes, while a document is parsed, that it needs a closer look."""

    def __init__(self) -> None:
        self.suspicious = False

    def pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise RequestRefused("duplicate-json-key", f"An object has the key {clipped(twice)} twice.")
        if len(found) > MAX_PROPERTIES:
            self.suspicious = True
        return found

    def integer(self, digits: str) -> int:
        if len(digits) >= _LONGEST_INTEGER - 1:
            value = int(digits) if len(digits) <= _LONGEST_INTEGER else MAX_INTEGER + 1
            self.suspicious = self.suspicious or abs(value) > MAX_INTEGER
            return value
        return int(digits)

    def number(self, digits: str) -> float:
        value = float(digits)
        self.suspicious = self.suspicious or math.isinf(value)
        return value

    def constant(self, name: str) -> float:
        raise RequestRefused("malformed-json", f"The body is not JSON: {name} is not a JSON number.")
