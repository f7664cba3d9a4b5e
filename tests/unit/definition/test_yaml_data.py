"""YAML is read as JSON data, or refused."""

import itertools
from typing import Any

import pytest

from workflow_engine.definition.yaml_data import read_yaml
from workflow_engine.errors import DefinitionInvalid

LIMIT = 10_000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: no", {"a": "no"}),
        ("on: yes", {"on": "yes"}),
        ("a: 010", {"a": 10}),
        ("a: 1:30", {"a": "1:30"}),
        ("a: 0x10", {"a": "0x10"}),
        ("a: 1_000", {"a": "1_000"}),
        ("a: 2026-01-31", {"a": "2026-01-31"}),
        ("a: [true, ~, null, -1, 1.5, 1e3, .5]", {"a": [True, None, None, -1, 1.5, 1000.0, 0.5]}),
        ("a:", {"a": None}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ('"1": one', {"1": "one"}),
        ("", None),
    ],
)
def test_scalars_are_those_of_the_core_schema(text: str, value: Any) -> None:
    assert read_yaml(text, limit=LIMIT) == value


_NAMES = "abcdefghijklmnopqrstuvwxyz"
BOMB = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [*{before}, *{before}]\n" for before, name in itertools.pairwise(_NAMES)
)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("a: 1\na: 2", "duplicate-property", id="repeated key"),
        pytest.param("a: {b: 1, b: 2}", "duplicate-property", id="repeated key inside"),
        pytest.param("1: one", "validation-error", id="number as a key"),
        pytest.param("? [a]\n: 1", "validation-error", id="list as a key"),
        pytest.param("true: 1", "validation-error", id="truth as a key"),
        pytest.param("a: &a {x: 1}\nb: {<<: *a}", "validation-error", id="merge key"),
        pytest.param(BOMB, "expansion-limit", id="aliases of aliases"),
        pytest.param("a: &a " + "x" * 6000 + "\nb: *a", "expansion-limit", id="a long text twice"),
        pytest.param("a: &a [*a]", "expansion-limit", id="contains itself"),
        pytest.param("a: !!python/object/apply:os.system [echo]", "malformed-yaml", id="python object"),
        pytest.param("a: 1\n---\nb: 2", "malformed-yaml", id="two documents"),
        pytest.param("a: [1, 2", "malformed-yaml", id="no end"),
        pytest.param("a: \x00", "malformed-yaml", id="control character"),
        pytest.param("[" * 5000, "nesting-too-deep", id="too deep"),
        pytest.param("a: " + "9" * 5000, "number-out-of-range", id="too many digits"),
        pytest.param("a: !!int x", "number-out-of-range", id="no number"),
    ],
)
def test_what_could_be_understood_differently_is_refused(text: str, code: str) -> None:
    with pytest.raises(DefinitionInvalid) as refused:
        read_yaml(text, limit=LIMIT)
    assert refused.value.faults[0].code == code
