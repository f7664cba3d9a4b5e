"""What changed between two documents."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_engine.definition.diff import MAX_LINES, as_yaml, compare, unified
from workflow_engine.definition.yaml_data import read_yaml


def flow(*steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": "flow", "steps": list(steps), **fields}


def test_steps_are_told_apart_by_their_ids_wherever_they_stand() -> None:
    old = flow({"id": "a", "type": "noop"}, {"id": "b", "type": "noop"}, {"id": "c", "type": "noop"})
    new = flow(
        {"id": "c", "type": "noop"}, {"id": "d", "type": "noop"}, {"id": "a", "type": "noop", "retries": {"backoff": 2}}
    )

    found = compare(old, new)

    assert found.added == (("d", "/steps/1"),)
    assert found.removed == (("b", "/steps/1"),)
    assert [(s.id, s.pointer) for s in found.changed] == [("a", "/steps/2")]
    (change,) = found.changed[0].changes
    assert (change.change, change.pointer, change.new) == ("added", "/steps/2/retries", {"backoff": 2})
    assert found.fields == ()


def test_a_change_has_the_place_of_the_innermost_value() -> None:
    old = flow({"id": "a", "type": "http", "headers": {"x/y": "1"}, "query": {"n": [1, 2]}}, vars={"a": 1, "b": True})
    new = flow({"id": "a", "type": "http", "headers": {"x/y": "2"}, "query": {"n": [1]}}, vars={"a": 1, "b": 1})

    found = compare(old, new)

    assert [(c.change, c.pointer, c.old, c.new) for c in found.changed[0].changes] == [
        ("changed", "/steps/0/headers/x~1y", "1", "2"),
        ("removed", "/steps/0/query/n/1", 2, None),
    ]
    assert [(c.pointer, c.old, c.new) for c in found.fields] == [("/vars/b", True, 1)], "true is not 1"


def test_nested_steps_are_matched_by_their_ids_too() -> None:
    old = flow({"id": "a", "type": "block", "steps": [{"id": "x", "type": "noop"}, {"id": "y", "type": "noop"}]})
    new = flow({"id": "a", "type": "block", "steps": [{"id": "y", "type": "noop", "queue": "q"}]})

    (step,) = compare(old, new).changed

    assert [(c.change, c.pointer) for c in step.changes] == [
        ("removed", "/steps/0/steps/0"),
        ("added", "/steps/0/steps/0/queue"),
    ]


def test_equal_documents_are_equal_texts_in_whatever_order_their_keys_are() -> None:
    old = flow({"id": "a", "type": "noop", "when": "true"})
    new = {"steps": [{"when": "true", "type": "noop", "id": "a"}], "name": "flow"}

    assert compare(old, new).changed == ()
    assert unified(old, new, "1", "2") == ""


def test_the_text_is_a_unified_diff_that_begins_with_what_a_step_is() -> None:
    text = unified(flow({"id": "a", "type": "noop"}), flow({"type": "noop", "when": "true", "id": "a"}), "f@1", "f@2")

    assert text == "--- f@1\n+++ f@2\n@@ -2,3 +2,4 @@\n steps:\n - id: a\n   type: noop\n+  when: 'true'\n"


@pytest.mark.parametrize(
    "long",
    [
        pytest.param(flow(*({"id": f"s{n}", "type": "noop"} for n in range(MAX_LINES))), id="of many values"),
        pytest.param(flow({"id": "a", "type": "noop", "description": "a\n" * MAX_LINES}), id="of one long text"),
    ],
)
def test_texts_that_are_too_long_are_refused(long: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="json has no such limit"):
        unified(long, long, "1", "2")


_TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe\uffff")
) | st.sampled_from(
    ["no", "010", "1:30", "1e5", ".5", "-1", "+1", "~", "null", "2026-01-01", "a\nb\n", "true", "${ 1 }", "<<", "=", ""]
)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda values: (
        st.lists(values, max_size=3) | st.dictionaries(_TEXTS.filter(lambda key: key != "<<"), values, max_size=3)
    ),
    max_leaves=10,
)


@given(value=_VALUES)
def test_a_document_as_yaml_is_read_back_as_it_was(value: Any) -> None:
    document = flow({"id": "a", "type": "noop", "inputs": value})

    assert read_yaml(as_yaml(document), limit=1_000_000) == document
