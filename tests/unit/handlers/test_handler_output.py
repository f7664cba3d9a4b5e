"""What may be an output, how it is encoded, and how a fault is named."""

import dataclasses
import datetime
import enum
import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_engine.errors import TaskError
from workflow_engine.handlers.output import encode_output

LIMIT = 1_000_000


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: float
    y: object = None


def nested(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda children: (
        st.lists(children)
        | st.dictionaries(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), children)
    ),
    max_leaves=20,
)


@given(JSON)
def test_every_json_value_is_encoded_and_comes_back(value):
    assert json.loads(encode_output(value, LIMIT)) == value


@given(JSON)
def test_a_fault_is_found_wherever_it_hides(value):
    with pytest.raises(TaskError) as caught:
        encode_output({"fine": [value, None], "broken": [value, {"a/b": float("nan")}]}, LIMIT)
    assert caught.value.type == "serialization_error"
    assert caught.value.details["pointer"] == "/broken/1/a~1b"


def test_python_values_with_one_obvious_form_are_accepted():
    output = {
        "when": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
        "day": datetime.date(2026, 1, 2),
        "id": uuid.UUID(int=1),
        "colour": Colour.RED,
        "point": Point(1.5),
        "pair": (1, 2),
    }
    assert json.loads(encode_output(output, LIMIT)) == {
        "when": "2026-01-02T03:04:05+00:00",
        "day": "2026-01-02",
        "id": "00000000-0000-0000-0000-000000000001",
        "colour": "red",
        "point": {"x": 1.5, "y": None},
        "pair": [1, 2],
    }


@pytest.mark.parametrize(
    ("output", "pointer", "reason"),
    [
        (float("nan"), "", "nan"),
        ({"a": [0, float("inf")]}, "/a/1", "inf"),
        ({"a": {"b": {1, 2}}}, "/a/b", "set"),
        ({"a": b"x"}, "/a", "bytes"),
        ({"a": Point(float("nan"))}, "/a/x", "nan"),
        ({"a": Point(1.0, object())}, "/a/y", "object"),
        ({"a": "x\x00y"}, "/a", "U+0000"),
        ({"a\x00": 1}, "", "U+0000"),
        ({"a": "\ud800"}, "/a", "surrogate"),
        ({"a": {"\udfff": 1}}, "/a", "surrogate"),
        ({"a": 2**63}, "/a", "64 bits"),
        ({"a": -(2**63) - 1}, "/a", "64 bits"),
        ({"a": 10**5000}, "/a", "64 bits"),
        ({"a": {1: 2}}, "/a", "key that is a int"),
        (iter([]), "", "list_iterator"),
        (nested(255), "/0" * 254, "deeper than 254"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(output, pointer, reason):
    with pytest.raises(TaskError, match=r"^The output") as caught:
        encode_output(output, LIMIT)
    assert caught.value.type == "serialization_error"
    assert not caught.value.retryable
    assert caught.value.details["pointer"] == pointer
    assert reason in caught.value.message


def test_a_value_that_holds_itself_is_refused():
    loop = []
    loop.append([loop, loop])
    with pytest.raises(TaskError, match="deeper than"):
        encode_output(loop, LIMIT)


@pytest.mark.parametrize("output", [r"\u0000", "9" * 40, {"n": None}, nested(254), 2**63 - 1, -(2**63)])
def test_what_only_looks_suspicious_is_accepted(output):
    assert json.loads(encode_output(output, LIMIT)) == output


def test_an_output_above_the_limit_is_refused_with_both_numbers():
    assert len(encode_output("x" * 98, 100)) == 100
    with pytest.raises(TaskError) as caught:
        encode_output("x" * 99, 100)
    assert caught.value.type == "payload_too_large"
    assert not caught.value.retryable
    assert caught.value.details == {"bytes": 101, "limit": 100}
