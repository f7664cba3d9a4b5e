"""CEL expressions: values come back exact, errors become one kind of error, references are known."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_engine.definition.expressions import MAX_MAPPED_ITEMS, compile_expression, evaluate, holds
from workflow_engine.definition.scope import misuses, steps_read
from workflow_engine.errors import InputInvalid, TaskError

SCOPE: dict[str, Any] = {
    "input": {"n": 3, "f": 2.5, "s": "hé😀", "none": None, "rows": [{"id": 7}, {"id": 8}], "a-b": 1},
    "steps": {
        "fetch-all": {"status": "succeeded", "output": {"id": 7, "tags": ["x", "y"]}},
        "broken": {"status": "failed", "error": {"type": "http.503"}},
    },
    "vars": {"limit": 2},
    "workflow": {"id": "w1", "attempt": 1},
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("input.n", 3),
        ("input.n + 1", 4),
        ("input['a-b'] + 1", 2),
        ("input.f * 2.0", 5.0),
        ("input.none", None),
        ("input.s + '!'", "hé😀!"),
        ("input.rows[1].id", 8),
        ("input.rows.map(row, row.id * vars.limit)", [14, 16]),
        ("steps.fetch_all.output.id", 7),
        ("steps.fetch_all.output.tags.join('-')", "x-y"),
        ("steps.broken.status == 'failed'", True),
        ("has(steps.broken.output)", False),
        ("steps.broken.?output.id.orValue(0)", 0),
        ("steps.fetch_all.?output.id.orValue(0)", 7),
        ("input.?rows[?5].orValue('none')", "none"),
        (
            "{'n': input.n, 'list': [1, 2.5, null, true, {'deep': []}]}",
            {"n": 3, "list": [1, 2.5, None, True, {"deep": []}]},
        ),
        ("sum(input.rows.map(row, row.id))", 15),
        ("sum([1, 2.5])", 3.5),
        ("math.greatest(input.n, 5)", 5),
        ("base64.encode(b'a:b')", "YTpi"),
        ("'a,b'.split(',')", ["a", "b"]),
        ("timestamp('2024-02-29T12:00:00.5Z')", "2024-02-29T12:00:00.500000Z"),
        ("timestamp('2024-02-29T12:00:00+02:00')", "2024-02-29T10:00:00Z"),
        ("timestamp('2024-03-01T00:00:00Z') - timestamp('2024-02-28T23:59:58.5Z')", "86401.5s"),
        ("duration('-1.5s')", "-1.5s"),
        ("[1].map(input, input + 1)", [2]),
        ("workflow.id", "w1"),
    ],
)
def test_an_expression_gives_plain_json_of_the_right_type(expression: str, value: Any) -> None:
    result = evaluate(expression, SCOPE)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("1 / (input.n - 3)", "divide by zero"),
        ("input.n + 9223372036854775807", "overflow"),
        ("input.n + 'x'", "overload"),
        ("input.missing", "there is no input.missing"),
        ("input.missing + 1", "there is no `missing`"),
        ("input.s.x", "input.s is a string"),
        ("input.none.x", "input.none is null"),
        ("input.none.?x", "null"),
        ("input.rows[9]", "there is no item 9"),
        ("input.rows[-1]", "there is no item -1"),
        ("input.rows.first", "input.rows is a list"),
        ("steps.broken.output.id", "the step is failed; guard it with has(steps.broken.output)"),
        ("steps.unknown.output", "there is no steps.unknown"),
        ("input.?n", "end with .orValue"),
        ("[optional.of(1)]", "end with .orValue"),
        ("b'bytes'", "base64.encode"),
        ("type(1)", "is a type"),
        ("double('nan')", "nan"),
        ("{1: 2}", "write string(1)"),
        ("sum(['a'])", "a list of numbers"),
        ("sum([9223372036854775807, 1])", "overflow"),
        ("result.x + 1", "result"),
        ("1 +", "unexpected end"),
        ("nonsense(1)", "unknown name or function `nonsense`"),
    ],
)
def test_whatever_goes_wrong_is_one_error_that_names_the_expression(expression: str, reason: str) -> None:
    with pytest.raises(TaskError) as failed:
        evaluate(expression, SCOPE)
    assert failed.value.type == "expression"
    assert failed.value.retryable is False
    assert expression in failed.value.message
    assert reason in failed.value.message


# NUL is left out: the database keeps none in JSON, so no scope holds one (the library cuts keys there).
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


def same(left: Any, right: Any) -> bool:
    """Equal in value and in type, all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


@given(json_values)
def test_json_passes_through_the_library_unchanged(value: Any) -> None:
    # The ternary makes it an evaluation; a bare `input` would be looked up without the library.
    assert same(evaluate("true ? input : null", {"input": value}), value)


@given(json_values)
def test_looking_up_a_name_and_evaluating_it_agree(value: Any) -> None:
    scope = {"steps": {"a-1": {"status": "succeeded", "output": {"x": value}}}}
    assert same(evaluate("steps.a_1.output.x", scope), evaluate("true ? steps.a_1.output.x : null", scope))


def test_only_what_is_read_is_copied_into_the_library() -> None:
    unreadable = object()  # the library would refuse it
    scope = {"input": {"n": 1, "huge": unreadable}, "steps": {"a": {"output": unreadable}}, "vars": unreadable}
    assert evaluate("input.n + 1", scope) == 2


def test_list_building_macros_are_capped_and_others_are_not() -> None:
    scope = {"input": {"rows": list(range(MAX_MAPPED_ITEMS + 1))}}
    with pytest.raises(TaskError, match="at most 1,000 items"):
        evaluate("input.rows.map(row, row)", scope)
    assert evaluate("input.rows.exists(row, row == 1000)", scope) is True
    assert len(evaluate("input.rows.filter(row, row > 5)", {"input": {"rows": list(range(1000))}})) == 994


def test_evaluation_is_bounded() -> None:
    scope = {"input": list(range(200))}
    with pytest.raises(TaskError, match="budget"):
        evaluate("input.all(a, input.all(b, input.all(c, true)))", scope)


def test_a_condition_must_be_true_or_false() -> None:
    assert holds("input.n > 2", SCOPE) is True
    assert holds("input.n > 3", SCOPE) is False
    with pytest.raises(TaskError, match="this is a number"):
        holds("input.n", SCOPE)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("input.", "unexpected '.'"),
        ("a b", "unexpected 'b'"),
        ("loop", "reserved"),
        ("inputs.x", 'did you mean "input"'),
        ("1 * 2.0", "no matching overload"),
        ("9223372036854775808", "invalid int literal"),
        ("(" * 100 + "1" + ")" * 100, "nested too deeply"),
        ("1" + "+1" * 4000, "nested too deeply"),
        ("'" + "a" * 10_000 + "'", "longer than"),
    ],
)
def test_what_does_not_compile_says_why(expression: str, message: str) -> None:
    with pytest.raises(InputInvalid) as refused:
        compile_expression(expression)
    (fault,) = refused.value.faults
    assert fault.code == "invalid-template"
    assert message in fault.message
    assert "\n" not in fault.message


@pytest.mark.parametrize(
    ("expression", "steps"),
    [
        ("steps.a.output.x", {"a"}),
        ("has(steps.a.output) ? steps.b.output : steps.c.?output.x.orValue(1)", {"a", "b", "c"}),
        ("steps['a'].output[steps.b.output.key]", {"a", "b"}),
        ("[1].map(x, steps.a.output + x)", {"a"}),
        ("[{'a': {'status': 1}}].map(steps, steps.a.status)", set()),
        ("[{'a': 1}].all(steps, steps.a == 1) && steps.b.output", {"b"}),
        ("steps.a.output.filter(x, x in steps.b.output).size() > 0", {"a", "b"}),
        ("{'k': steps.a.output, 'l': [steps.b.output]}", {"a", "b"}),
        (".steps.a.output", {"a"}),
        ("'steps.a.output'", set()),
    ],
)
def test_the_steps_an_expression_reads_are_known(expression: str, steps: set[str]) -> None:
    assert steps_read(compile_expression(expression).references) == steps


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("result.x", "`output`, `success_when` and `until` only"),
        ("error.type", "`retries.when` and `catch` only"),
        ("size(steps)", "write steps.<id>"),
        ("steps[input.name].output", "write steps.<id>"),
        ("steps.a.outptu", 'did you mean "output"'),
        ("has(steps.a.outptu)", 'did you mean "output"'),
        ("workflow.nmae", 'did you mean "name"'),
    ],
)
def test_names_that_do_not_exist_at_a_place_are_told(expression: str, message: str) -> None:
    found = list(misuses(compile_expression(expression).references, ("input", "steps", "vars", "workflow")))
    assert len(found) == 1
    assert message in found[0]


def test_the_same_text_is_compiled_once() -> None:
    assert compile_expression("input.once + 1") is compile_expression("input.once + 1")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("sum(input.list)", 9),
        ("input.list.sort()", [1, 2, 3, 3]),
        ("input.list.distinct()", [3, 1, 2]),
        ("input.list.slice(1, 3)", [1, 2]),
        ("input.lists.flatten()", [1, [2], 3, 4]),
        ("input.maps.distinct()", [{"a": 1}, {"b": 2}]),
        ("lists.range(3).map(i, i * 2)", [0, 2, 4]),
        ("input.words.sort()[0] + 'abc'.reverse()", "acba"),
    ],
)
def test_lists_have_functions(expression: str, value: object) -> None:
    maps = [{"a": 1}, {"a": 1}, {"b": 2}]
    lists = {"list": [3, 1, 2, 3], "lists": [[1, [2]], [3], 4], "maps": maps, "words": ["b", "a"]}
    assert evaluate(expression, {"input": lists}) == value


@pytest.mark.parametrize(
    "expression",
    ["input.list.sort()", "input.list.slice(1, 9)", "lists.range(1001)", "lists.range(-1)", "sum(input.list)"],
)
def test_what_a_function_on_lists_cannot_do_is_told(expression: str) -> None:
    with pytest.raises(TaskError, match=r"takes|outside"):
        evaluate(expression, {"input": {"list": [1, "a"]}})


def test_items_may_have_a_name_of_their_own() -> None:
    scope = {"input": {"n": 2}, "order": {"id": 5}, "index": 1}
    assert evaluate("order.id * input.n + index", scope) == 11
    with pytest.raises(TaskError, match="unknown name"):
        evaluate("order.id", {"input": {}})
