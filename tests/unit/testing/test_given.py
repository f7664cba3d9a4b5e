"""Which given output is whose."""

import pytest

from workflow_engine.errors import InputInvalid
from workflow_engine.testing.given import NO_OUTPUT, GivenOutputs


def outputs_of(given, *paths):
    """The outputs (or the type of the error) that tasks get, in the order in which they ask."""
    results = [given.next(path, path.rsplit(".", 1)[-1].partition("[")[0]) for path in paths]
    return [result.error.type if result.error else result.output for result in results]


def test_one_output_is_for_all_attempts_and_items():
    assert outputs_of(GivenOutputs({"a": 1}), "a", "a", "p[0].a", "p[1].a") == [1, 1, 1, 1]


def test_a_list_is_one_entry_per_attempt():
    assert outputs_of(GivenOutputs({"a": [1, {"error": "x"}, 3]}), "a", "a", "a", "a") == [1, "x", 3, NO_OUTPUT]


def test_a_list_is_one_entry_per_item_where_the_key_has_no_position():
    given = GivenOutputs({"p": [1, 2, [{"error": "x"}, 3]]})
    assert outputs_of(given, "p[0]", "p[1]", "p[2]", "p[1]", "p[2]", "p[3]") == [1, 2, "x", 2, 3, NO_OUTPUT]


def test_a_list_under_a_path_with_its_positions_is_one_entry_per_attempt():
    given = GivenOutputs({"p[1]": [{"error": "x"}, 2], "p": [0, "for p[2]"]})
    assert outputs_of(given, "p[0]", "p[1]", "p[1]", "p[2]") == [0, "x", 2, "for p[2]"]


def test_the_most_precise_key_counts():
    given = GivenOutputs({"p[1].a": "exact", "p.a": "any", "a": "id"})
    assert outputs_of(given, "p[1].a", "p[2].a", "q.a") == ["exact", "any", "id"]


def test_an_output_that_is_a_list_or_looks_like_an_error_is_wrapped():
    given = GivenOutputs({"a": {"output": [1, 2]}, "b": {"output": {"error": "none"}}, "c": {"error": 7, "code": 8}})
    assert outputs_of(given, "a", "b", "c") == [[1, 2], {"error": "none"}, {"error": 7, "code": 8}]


@pytest.mark.parametrize(
    ("type", "retryable"),
    [
        ("http.404", False),
        ("http.429", True),
        ("http.503", True),
        ("timeout", True),
        ("validation", False),
        ("user.x", True),
    ],
)
def test_whether_an_error_is_retryable_follows_from_its_type(type, retryable):
    assert GivenOutputs({"a": {"error": type}}).next("a", "a").error.retryable is retryable


def test_an_error_may_say_everything_itself():
    error = {"type": "http.429", "message": "slow down", "retryable": False, "retry_after": "30s", "details": {"a": 1}}
    given = GivenOutputs({"a": {"error": error, "takes": "1m"}}).next("a", "a")
    assert given.takes == 60
    assert given.error.as_json(1) == {
        "type": "http.429", "message": "slow down", "retryable": False, "attempt": 1, "details": {"a": 1},
    }  # fmt: skip
    assert given.error.retry_after == 30


def test_what_nobody_asked_for_is_told():
    given = GivenOutputs({"a": 1, "b": 2, "b[0]": 3})
    outputs_of(given, "a", "b[1]")
    assert given.unused == ["b[0]"]


@pytest.mark.parametrize(
    ("outputs", "pointer"),
    [
        ({"a": {"error": {"message": "no type"}}}, "/a/error/type"),
        ({"a": [1, {"output": 1, "takes": "soon"}]}, "/a/1/takes"),
        ({"a/b": {"error": {"type": "x", "retriable": True}}}, "/a~1b/error/retriable"),
        ({"a": {"error": 7}}, "/a/error"),
    ],
)
def test_an_entry_that_makes_no_sense_is_refused_with_its_place(outputs, pointer):
    with pytest.raises(InputInvalid) as refused:
        GivenOutputs(outputs)
    assert pointer in [fault.pointer for fault in refused.value.faults]
