"""JSON Schemas of inputs."""

import time
from typing import Any

import pytest

from workflow_engine.definition.input_schema import check_schema, validate_input
from workflow_engine.errors import InputInvalid

TREE = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#"}}},
}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        TREE,
        {"$defs": {"a/b": {"type": "integer"}}, "properties": {"n": {"$ref": "#/$defs/a~1b"}}},
        {"enum": [{"$ref": "http://not.a.reference"}]},
        {"properties": {"$ref": {"type": "string"}}},
    ],
)
def test_a_sound_schema_is_accepted(schema: dict[str, Any]) -> None:
    assert check_schema(schema, "/input_schema").found == []


@pytest.mark.parametrize(
    ("schema", "pointer"),
    [
        ({"type": "objekt"}, "/input_schema/type"),
        ({"properties": {"a": {"minimum": "1"}}}, "/input_schema/properties/a/minimum"),
        ({"$ref": "http://example.com/schema"}, "/input_schema/$ref"),
        ({"items": {"$ref": "file:///etc/passwd"}}, "/input_schema/items/$ref"),
        ({"$ref": "#/$defs/missing"}, "/input_schema/$ref"),
        ({"$ref": "#anchor"}, "/input_schema/$ref"),
        ({"properties": {"a": {"$id": "http://example.com/"}}}, "/input_schema/properties/a/$id"),
        ({"$ref": "#"}, "/input_schema"),
        ({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}}, "/input_schema/$defs/a"),
        ({"properties": {"a": {"not": {"$ref": "#/properties/a"}}}}, "/input_schema/properties/a"),
        ({"dependentSchemas": {"x": {"$ref": "#"}}}, "/input_schema"),
    ],
)
def test_what_is_invalid_remote_or_endless_is_refused(schema: dict[str, Any], pointer: str) -> None:
    faults = check_schema(schema, "/input_schema").found
    assert [(fault.pointer, fault.code) for fault in faults] == [(pointer, "invalid-schema")]


def test_an_input_that_fits_is_accepted() -> None:
    validate_input(TREE, {"name": "a", "children": [{"name": "b", "children": []}]})
    validate_input(None, "anything")


def test_an_input_that_does_not_fit_is_refused_with_the_places() -> None:
    with pytest.raises(InputInvalid) as refused:
        validate_input(TREE, {"name": 1, "children": [{"nmae": "b"}]})
    assert sorted({fault.pointer for fault in refused.value.faults}) == ["/input/children/0", "/input/name"]


def test_an_input_nested_too_deeply_is_refused_not_a_crash() -> None:
    deep: dict[str, Any] = {"name": "x"}
    for _ in range(500):
        deep = {"name": "x", "children": [deep]}
    with pytest.raises(InputInvalid, match="nested too deeply"):
        validate_input(TREE, deep)


def test_at_most_fifty_faults_are_told() -> None:
    with pytest.raises(InputInvalid) as refused:
        validate_input({"items": {"type": "integer"}}, ["x"] * 200)
    assert len(refused.value.faults) == 50


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": "^(a+)+$"}, "a" * 40 + "!"),
        ({"patternProperties": {"^(a+)+$": True}, "additionalProperties": False}, {"a" * 40 + "!": 1}),
        ({"uniqueItems": True}, [{"n": n % 40_000} for n in range(50_000)]),
        (
            {
                "$ref": "#/$defs/d40",
                "$defs": {"d0": {"type": "integer"}}
                | {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 2} for n in range(1, 41)},
            },
            "x",
        ),
    ],
)
def test_no_schema_takes_for_ever(schema: dict[str, Any], value: Any) -> None:
    assert check_schema(schema, "").found == []
    before = time.process_time()
    with pytest.raises(InputInvalid):
        validate_input(schema, value)
    assert time.process_time() - before < 10


@pytest.mark.parametrize("keyword", ["unevaluatedProperties", "unevaluatedItems"])
def test_references_that_multiply_are_refused_where_each_way_would_be_followed(keyword: str) -> None:
    def schema(depth: int) -> dict[str, Any]:
        parts = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 2} for n in range(1, depth + 1)}
        return {"$ref": f"#/$defs/d{depth}", "$defs": {"d0": {}} | parts, keyword: False}

    assert check_schema(schema(3), "").found == []
    (fault,) = check_schema(schema(40), "/input_schema").found
    assert (fault.pointer, fault.code) == ("/input_schema", "invalid-schema")


def test_a_reference_to_the_same_value_is_followed_once_and_tells_the_same_places() -> None:
    name = {"$ref": "#/$defs/name"}
    schema = {
        "allOf": [{"properties": {"a": name}}, {"properties": {"a": name}}],
        "$defs": {"name": {"properties": {"b": {"type": "integer"}}}},
    }
    validate_input(schema, {"a": {"b": 1}})
    with pytest.raises(InputInvalid) as refused:
        validate_input(schema, {"a": {"b": "x"}})
    assert [fault.pointer for fault in refused.value.faults] == ["/input/a/b"] * 2


@pytest.mark.parametrize(
    ("schema", "fits", "does_not"),
    [
        ({"pattern": "b+"}, "abbc", "ac"),
        ({"pattern": "^\\d{3}$"}, "123", "1234"),
        ({"patternProperties": {"^x": {"type": "integer"}}}, {"x1": 1, "y": "z"}, {"x1": "1"}),
        ({"properties": {"a": True}, "additionalProperties": False}, {"a": 1}, {"b": 1}),
        ({"properties": {"a": True}, "additionalProperties": {"type": "integer"}}, {"a": "x", "b": 1}, {"b": "x"}),
        ({"uniqueItems": True}, [1, True, "1", [1], {"a": 1}], [{"a": 1, "b": 2}, {"b": 2.0, "a": 1}]),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}, 1, "x"),
    ],
)
def test_keywords_mean_what_they_mean_elsewhere(schema: dict[str, Any], fits: Any, does_not: Any) -> None:
    validate_input(schema, fits)
    with pytest.raises(InputInvalid):
        validate_input(schema, does_not)


@pytest.mark.parametrize("pattern", ["(", "(?=a)b", "(a)\\1"])
def test_a_pattern_that_could_take_for_ever_or_is_none_is_refused(pattern: str) -> None:
    (fault,) = check_schema({"properties": {"x": {"pattern": pattern}}}, "/input_schema").found
    assert (fault.pointer, fault.code) == ("/input_schema/properties/x/pattern", "invalid-schema")
