"""Templates: `${ }` in JSON data."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_engine.definition.templates import MAX_PLACEHOLDERS, Placeholder, Template, render, split
from workflow_engine.errors import InputInvalid, TaskError

SCOPE: dict[str, Any] = {"input": {"n": 3, "s": "text", "list": [1, {"a": "ü"}], "none": None, "yes": True}}


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("${ input.n }", 3),
        ("${input.n}", 3),
        ("${ input.list }", [1, {"a": "ü"}]),
        ("${ input.none }", None),
        ("n = ${ input.n }", "n = 3"),
        (" ${ input.n }", " 3"),
        ("${ input.n }${ input.s }", "3text"),
        ("${ input.list } ${ input.none } ${ input.yes }", '[1,{"a":"ü"}] null true'),
        ("$${ input.n }", "${ input.n }"),
        ("$$${ input.n }", "$${ input.n }"),
        ("$${${ input.n }}", "${3}"),
        ("$5 and $$ and $", "$5 and $$ and $"),
        ("${ {'a': {'b': '}'}}.a.b }", "}"),
        ("${ '${' + \"}\" }", "${}"),
        ("${ r'\\d}' }", "\\d}"),
        ("${ '\\'}' }", "'}"),
        ("${ '''a'}''' }", "a'}"),
        ("${ 1 // } comment\n }", 1),
        ({"a": ["${ input.n }", {"b": "x${ input.s }"}], "c": 1}, {"a": [3, {"b": "xtext"}], "c": 1}),
        (5, 5),
        (None, None),
    ],
)
def test_placeholders_become_values(template: Any, value: Any) -> None:
    assert render(template, SCOPE) == value
    assert render(Template(template), SCOPE) == value


@pytest.mark.parametrize("text", ["${", "a ${ input.n", "${ 'open }", "${ {'a': 1 }", '${ """x" }'])
def test_a_placeholder_must_be_closed(text: str) -> None:
    with pytest.raises(InputInvalid) as refused:
        split(text)
    assert refused.value.code == "invalid-template"
    with pytest.raises(TaskError, match="not closed"):
        render({"deep": [text]}, SCOPE)


def test_a_string_has_a_limited_number_of_placeholders() -> None:
    assert len(split("${ 1 }" * MAX_PLACEHOLDERS)) == MAX_PLACEHOLDERS
    with pytest.raises(InputInvalid, match="placeholders"):
        split("${ 1 }" * (MAX_PLACEHOLDERS + 1))


def test_an_evaluation_error_comes_through() -> None:
    with pytest.raises(TaskError, match=r"input\.missing"):
        render({"a": "x ${ input.missing }"}, SCOPE)


plain_text = st.text().filter(lambda text: "${" not in text)
plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | plain_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain_text, inner, max_size=4),
    max_leaves=20,
)


@given(plain_json)
def test_data_without_placeholders_renders_to_itself(value: Any) -> None:
    template = Template(value)
    assert template.static
    assert template.render({}) == value


@given(st.text(alphabet="a${} '\n"))
def test_escaped_text_comes_back_as_it_was(text: str) -> None:
    assert render(text.replace("${", "$${"), {}) == text


@given(st.lists(plain_text.filter(lambda text: text and not text.endswith("$")), min_size=1, max_size=5))
def test_text_around_placeholders_is_kept(texts: list[str]) -> None:
    parts = split("${ 1 }".join(texts))
    assert [part for part in parts if isinstance(part, str)] == texts
    assert parts.count(Placeholder("1")) == len(texts) - 1


def test_what_is_rendered_can_be_changed_without_harm_to_the_template() -> None:
    template = Template({"fixed": {"list": [1]}, "other": "${ input.n }"})
    template.render(SCOPE)["fixed"]["list"].append(2)
    assert template.render(SCOPE) == {"fixed": {"list": [1]}, "other": 3}
    static = Template({"list": [1]})
    static.render({})["list"].append(2)
    assert static.render({}) == {"list": [1]}
