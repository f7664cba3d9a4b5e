"""JSON Schemas of inputs: checked when a definition is compiled, applied when a workflow starts.

Draft 2020-12. References stay inside the schema (`#/...`): nothing is fetched, and none may lead back to itself
without going deeper into the data, which would never end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import referencing

from workflow_engine.definition import graph
from workflow_engine.definition.faults import MAX_FAULTS, Faults, clipped, join
from workflow_engine.definition.schema_keywords import (
    TooManyReferences,
    Validator,
    bounded_references,
    pattern_fault,
    patterns_of,
)
from workflow_engine.errors import Fault, InputInvalid

_META = jsonschema.Draft202012Validator
# Keywords whose subschemas apply to the same data, not to a part of it.
_SAME_DATA_LISTS = ("allOf", "anyOf", "oneOf")
_SAME_DATA = ("not", "if", "then", "else")
# These look for what the subschemas have seen by following each way to them.
_UNEVALUATED = frozenset({"unevaluatedProperties", "unevaluatedItems"})
_MOST_WAYS = 1000


def check_schema(schema: Mapping[str, Any], pointer: str) -> Faults:
    """What is wrong with a schema that stands at `pointer`; every fault has the code `invalid-schema`."""
    faults = Faults()
    for error in _META(_META.META_SCHEMA).iter_errors(schema):
        faults.add(join(pointer, *error.absolute_path), "invalid-schema", _clip(error.message))
    if not faults:
        places = dict(_subschemas(schema, ""))
        _check_references(places, pointer, faults)
        _check_patterns(places, pointer, faults)
    return faults


def _check_patterns(places: Mapping[str, Mapping[str, Any]], pointer: str, faults: Faults) -> None:
    for place, pattern in patterns_of(places):
        if message := pattern_fault(pattern):
            faults.add(pointer + place, "invalid-schema", _clip(message))
    keywords = {keyword for part in places.values() for keyword in part}
    if {"patternProperties", "unevaluatedProperties"} <= keywords:
        message = "`unevaluatedProperties` cannot be used with `patternProperties`; write `additionalProperties`"
        faults.add(pointer, "invalid-schema", message)


def _check_references(places: Mapping[str, Mapping[str, Any]], pointer: str, faults: Faults) -> None:
    for place, part in places.items():
        for keyword in ("$id", "$anchor", "$dynamicRef", "$dynamicAnchor"):
            if place and keyword in part:
                faults.add(join(pointer + place, keyword), "invalid-schema", f"`{keyword}` is not supported")
        reference = part.get("$ref")
        if isinstance(reference, str) and _target(reference) not in places:
            message = f"{clipped(reference)} leads nowhere; only references inside the schema (#/...) are followed"
            faults.add(join(pointer + place, "$ref"), "invalid-schema", message)
    if not faults:
        _check_loops(places, pointer, faults)


def validate_input(schema: Mapping[str, Any] | None, value: Any, pointer: str = "/input") -> None:
    """Hold an input against the schema of its definition.

    Args:
        schema: One that `check_schema` accepted; None accepts anything.
        value: The input.
        pointer: Where the input stands in the request.

    Raises:
        InputInvalid: Names the places; at most 50.
    """
    if schema is None:
        return
    faults: list[Fault] = []
    # An own, empty registry: the library's default one would fetch what it does not know.
    try:
        with bounded_references():
            for error in Validator(schema, registry=referencing.Registry()).iter_errors(value):
                place = join(pointer, *error.absolute_path)
                faults.append(Fault(place, "validation-error", _clip(_worded(error))))
                if len(faults) == MAX_FAULTS:
                    break
    except RecursionError as error:
        raise InputInvalid([Fault(pointer, "validation-error", "is nested too deeply for its schema")]) from error
    except TooManyReferences as error:
        message = "takes too much to check: the references of its schema multiply"
        raise InputInvalid([Fault(pointer, "validation-error", message)]) from error
    if faults:
        raise InputInvalid(faults)


def _subschemas(schema: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object in a schema that could be a subschema, by its JSON Pointer."""
    if isinstance(schema, dict):
        yield place, schema
        for key, part in schema.items():
            if key not in ("const", "enum", "default", "examples"):
                yield from _subschemas(part, join(place, key))
    elif isinstance(schema, list):
        for index, part in enumerate(schema):
            yield from _subschemas(part, join(place, index))


def _target(reference: str) -> str | None:
    """The place a `$ref` names, or None when it is outside or cannot be read."""
    return reference[1:] if reference == "#" or reference.startswith("#/") else None


def _check_loops(places: Mapping[str, Mapping[str, Any]], pointer: str, faults: Faults) -> None:
    position = {place: index for index, place in enumerate(places)}
    same_data: list[list[int]] = []
    for place, part in places.items():
        targets = [join(place, keyword) for keyword in _SAME_DATA]
        for keyword in _SAME_DATA_LISTS:
            parts = part.get(keyword)
            targets += [join(place, keyword, index) for index in range(len(parts) if isinstance(parts, list) else 0)]
        dependent = part.get("dependentSchemas")
        targets += [join(place, "dependentSchemas", key) for key in dependent] if isinstance(dependent, dict) else []
        if isinstance(reference := part.get("$ref"), str):
            targets.append(reference[1:])
        same_data.append([position[target] for target in targets if target in position])
    if cycle := graph.find_cycle(same_data):
        place = list(places)[cycle[0]]
        faults.add(pointer + place, "invalid-schema", "this schema applies itself to the same data without end")
    elif any(_UNEVALUATED & part.keys() for part in places.values()) and _most_ways(same_data) > _MOST_WAYS:
        message = "`unevaluatedProperties` and `unevaluatedItems` take too long here: the references multiply"
        faults.add(pointer, "invalid-schema", message)


def _most_ways(same_data: list[list[int]]) -> int:
    """How many subschemas one is made of at most, each counted as often as ways lead to it; there is no cycle."""
    ways: dict[int, int] = {}
    for start in range(len(same_data)):
        waiting = [start]
        while waiting:
            if missing := [part for part in same_data[waiting[-1]] if part not in ways]:
                waiting += missing
            else:
                last = waiting.pop()
                ways[last] = 1 + sum(ways[part] for part in same_data[last])
    return max(ways.values())


def _worded(error: jsonschema.ValidationError) -> str:
    """The library's message, with null, true and false as JSON writes them."""
    written = {"None": "null", "True": "true", "False": "false"}.get(repr(error.instance))
    return error.message if written is None else error.message.replace(repr(error.instance), written, 1)


def _clip(message: str) -> str:
    return message if len(message) <= 200 else message[:199] + "…"
