"""A form made of a schema: what can be put into fields is, everything else is JSON, and what is given is not lost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from workflow_engine.dashboard.forms import Entry, Unfit, entries_of

SCHEMA = {
    "type": "object",
    "required": ["order", "customer"],
    "$defs": {"sum": {"type": "number", "minimum": 0, "description": "In euros."}},
    "properties": {
        "note": {"type": "string", "maxLength": 2000},
        "order": {"type": "integer", "title": "Order number", "minimum": 1, "examples": [4711]},
        "sum": {"$ref": "#/$defs/sum", "default": 9.5},
        "express": {"type": "boolean"},
        "dry": {"type": "boolean", "default": True},
        "tier": {"enum": ["gold", "silver", 3, None]},
        "mode": {"oneOf": [{"const": "f", "title": "fast"}, {"const": "s"}]},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
        "lines": {"type": "array", "items": {"type": "object"}},
        "due": {"type": "string", "format": "date"},
        "any": True,
        "either": {"type": ["string", "integer"]},
        "maybe": {"type": ["string", "null"]},
        "customer": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "vip/since": {"type": "integer"}},
        },
        "retry": {
            "type": "object",
            "required": ["attempts"],
            "properties": {"attempts": {"type": "integer", "default": 3}},
        },
    },
}


def all_of(entries: Sequence[Entry]) -> Iterator[Entry]:
    for entry in entries:
        yield entry
        yield from all_of(entry.entries)


def by_pointer(schema: Any = SCHEMA, **given: Any) -> dict[str, Entry]:
    return {entry.pointer.removeprefix("/input/"): entry for entry in all_of(entries_of(schema, **given))}


def test_each_property_has_the_field_of_its_type() -> None:
    assert {name: entry.kind for name, entry in by_pointer().items()} == {
        "order": "number", "customer": "group", "customer/name": "text", "customer/vip~1since": "number",
        "any": "json", "dry": "flag", "due": "text", "either": "json", "express": "choice", "lines": "json",
        "maybe": "text", "mode": "choice", "note": "long", "retry": "group", "retry/attempts": "number",
        "sum": "number", "tags": "lines", "tier": "choice",
    }  # fmt: skip


def test_what_is_needed_comes_first_and_nothing_is_needed_in_what_may_be_left_out() -> None:
    found = by_pointer()
    assert [entry.pointer for entry in entries_of(SCHEMA)][:2] == ["/input/order", "/input/customer"]
    assert {name for name, entry in found.items() if entry.required} == {"order", "customer", "customer/name"}


def test_defaults_are_there_and_in_what_may_be_left_out_they_are_examples() -> None:
    found = by_pointer()
    assert (found["sum"].value, found["dry"].value) == ("9.5", "yes")
    assert (found["retry/attempts"].value, found["retry/attempts"].example) == ("", "3")
    assert found["order"].example == "4711"


def test_what_a_schema_says_is_said() -> None:
    found = by_pointer()
    assert (found["order"].label, found["order"].limits) == ("Order number", "1 or more")
    assert found["sum"].help == "In euros."
    assert found["tags"].limits == "one to a line, at most 3 of them"
    assert found["tier"].options == [('"gold"', "gold"), ('"silver"', "silver"), ("3", "3"), ("null", "null")]
    assert found["mode"].options == [('"f"', "fast"), ('"s"', "s")]
    assert found["due"].type == "date"


def test_what_is_given_is_shown_and_defaults_are_not() -> None:
    given = {
        "order": 5,
        "customer": {"name": "Ann"},
        "tags": ["a", "b"],
        "tier": 3,
        "lines": [{}],
        "retry": {"attempts": 1},
    }
    found = by_pointer(given=given)
    assert {name: entry.value for name, entry in found.items() if entry.value} == {
        "order": "5", "customer/name": "Ann", "tags": "a\nb", "tier": "3",
        "lines": json.dumps([{}], indent=2), "retry/attempts": "1",
    }  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        {"order": "five", "customer": {"name": "x"}},
        {"order": 1, "customer": {"name": "x", "more": 1}},
        {"order": 1, "customer": {"name": "x"}, "tags": ["a\nb"]},
        {"order": 1, "customer": {"name": "x"}, "tier": "lead"},
        {"order": True, "customer": {"name": "x"}},
        {"order": 1, "customer": {"name": "x"}, "unknown": 1},
        [1, 2],
    ],
)
def test_what_the_fields_cannot_show_is_said_so_that_it_is_shown_as_json(given: Any) -> None:
    with pytest.raises(Unfit):
        entries_of(SCHEMA, given)


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {},
        {"type": "object"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(101)}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "patternProperties": {"^x": {}}},
    ],
)
def test_an_input_without_fields_of_its_own_is_json(schema: Any) -> None:
    assert entries_of(schema) == ()


def test_a_schema_that_goes_deeper_without_end_has_fields_only_so_far() -> None:
    node = {"type": "object", "properties": {"name": {"type": "string"}, "child": {"$ref": "#/$defs/node"}}}
    found = by_pointer({"$defs": {"node": node}, "$ref": "#/$defs/node"})
    assert found["child/child/child/name"].kind == "text"
    assert found["child/child/child/child"].kind == "json"
