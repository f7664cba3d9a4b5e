"""Steps that wait or steer: which fields they take, and what is refused."""

from typing import Any

import pytest

from workflow_engine.definition.compile import compile_definition
from workflow_engine.definition.plan import PlanStep
from workflow_engine.definition.templates import Template
from workflow_engine.errors import DefinitionInvalid


def only(step_type: str, **fields: Any) -> PlanStep:
    return compile_definition({"name": "x", "steps": [{"id": "a", "type": step_type, **fields}]}).plan.steps[0]


NOOP = {"id": "b", "type": "noop"}

ACCEPTED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("wait", {"duration": "5m"}, {"duration": "5m"}),
    ("wait", {"duration": 0}, {"duration": 0}),
    ("wait", {"duration": "${ input.pause }"}, {"duration": "${ input.pause }"}),
    ("wait", {"until": "2030-01-31T09:00:00+01:00"}, {"until": "2030-01-31T09:00:00+01:00"}),
    ("signal", {"inputs": {"name": "paid", "timeout": "7d", "on_timeout": "continue"}, "count": 2},
     {"name": "paid", "timeout": "7d", "on_timeout": "continue", "count": 2}),
    ("approval", {"prompt": "Ship ${ input.id }?", "outcomes": ["yes", "no"], "assignees": ["${ input.boss }"]},
     {"prompt": "Ship ${ input.id }?", "outcomes": ["yes", "no"], "assignees": ["${ input.boss }"]}),
    ("approval", {"form_schema": {"type": "object"}}, {"form_schema": {"type": "object"}}),
    ("workflow", {"inputs": {"name": "child"}, "version": 2, "wait": False, "on_parent_cancel": "abandon"},
     {"name": "child", "version": 2, "wait": False, "on_parent_cancel": "abandon"}),
    ("emit", {"inputs": {"name": "done"}, "payload": {"n": "${ input.n }"}},
     {"name": "done", "payload": {"n": "${ input.n }"}}),
    ("emit", {"inputs": {"name": "done", "to": "webhook", "url": "https://example.com"}},
     {"name": "done", "to": "webhook", "url": "https://example.com"}),
    ("terminate", {"status": "failed", "reason": "enough", "inputs": {"output": {"a": 1}}},
     {"status": "failed", "reason": "enough", "output": {"a": 1}}),
    ("tool", {"server": "search", "tool": "find", "arguments": {"q": "${ secrets.Q }"}},
     {"server": "search", "tool": "find", "arguments": {"q": "${ secrets.Q }"}}),
]  # fmt: skip


@pytest.mark.parametrize(("step_type", "fields", "inputs"), ACCEPTED)
def test_own_fields_become_inputs(step_type: str, fields: dict[str, Any], inputs: dict[str, Any]) -> None:
    assert only(step_type, **fields).inputs == Template(inputs)


def test_expressions_about_a_result_or_an_event_are_no_inputs() -> None:
    signal = only("signal", inputs={"name": "paid"}, match="event.payload.order == input.order")
    assert (signal.match, signal.inputs, signal.uses_input) == (
        "event.payload.order == input.order", Template({"name": "paid"}), True
    )  # fmt: skip
    http = only("http", url="http://x", success_when="result.status == 200")
    assert (http.success_when, http.inputs) == ("result.status == 200", Template({"url": "http://x"}))


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("wait", {}, "", "validation-error"),
    ("wait", {"duration": "1m", "until": "2030-01-31T09:00:00Z"}, "/until", "validation-error"),
    ("wait", {"duration": "-1m"}, "/duration", "out-of-range"),
    ("wait", {"duration": "400d"}, "/duration", "out-of-range"),
    ("wait", {"duration": True}, "/duration", "validation-error"),
    ("wait", {"until": "tomorrow"}, "/until", "validation-error"),
    ("wait", {"until": "2030-01-31T09:00:00"}, "/until", "validation-error"),
    ("signal", {}, "", "validation-error"),
    ("signal", {"name": "paid"}, "", "validation-error"),
    ("signal", {"inputs": {"name": "a b"}}, "/inputs/name", "invalid-name"),
    ("signal", {"inputs": {"name": "a", "count": 0}}, "/inputs/count", "out-of-range"),
    ("signal", {"inputs": {"name": "a", "on_timeout": "continue"}}, "/inputs/on_timeout", "validation-error"),
    ("signal", {"inputs": {"name": "a", "timeout": 0}}, "/inputs/timeout", "out-of-range"),
    ("signal", {"inputs": {"name": "a"}, "match": "'text'"}, "/match", "invalid-template"),
    ("signal", {"inputs": {"name": "a"}, "match": "result == 1"}, "/match", "invalid-template"),
    ("signal", {"inputs": {"name": "${ secrets.A }"}}, "/inputs/name", "invalid-template"),
    ("approval", {"outcomes": []}, "/outcomes", "out-of-range"),
    ("approval", {"outcomes": ["a", "a"]}, "/outcomes", "out-of-range"),
    ("approval", {"outcomes": ["yes", "n o"]}, "/outcomes/1", "validation-error"),
    ("approval", {"assignees": [5]}, "/assignees/0", "validation-error"),
    ("approval", {"form_schema": {"type": "objekt"}}, "/form_schema/type", "invalid-schema"),
    ("approval", {"inputs": {"timeout": "1d", "on_timeout": "explode"}}, "/inputs/on_timeout", "validation-error"),
    ("workflow", {}, "", "validation-error"),
    ("workflow", {"inputs": {"name": "a"}, "version": 0}, "/version", "out-of-range"),
    ("workflow", {"inputs": {"name": "a"}, "definition": {"steps": [NOOP]}}, "/definition", "validation-error"),
    ("workflow", {"inputs": {"name": "a"}, "on_parent_cancel": "cry"}, "/on_parent_cancel", "validation-error"),
    ("workflow", {"inputs": {"name": "a"}, "wait": "no"}, "/wait", "validation-error"),
    ("emit", {}, "", "validation-error"),
    ("emit", {"inputs": {"name": "a", "to": "webhook"}}, "/inputs/to", "validation-error"),
    ("emit", {"inputs": {"name": "a", "to": "mail"}}, "/inputs/to", "validation-error"),
    ("emit", {"inputs": {"name": "a", "url": "http://x"}}, "/inputs/url", "validation-error"),
    ("emit", {"inputs": {"name": "a", "to": "webhook", "url": "file:///x"}}, "/inputs/url", "url-not-allowed"),
    ("terminate", {"status": "paused"}, "/status", "validation-error"),
    ("terminate", {"for_each": {"items": 2}}, "/type", "validation-error"),
    ("tool", {"server": "a"}, "", "validation-error"),
    ("tool", {"server": "http://169.254.169.254/mcp", "tool": "x"}, "/server", "egress-denied"),
]


@pytest.mark.parametrize(("step_type", "fields", "place", "code"), REFUSED)
def test_a_field_that_is_not_accepted_is_refused(step_type: str, fields: dict[str, Any], place: str, code: str) -> None:
    with pytest.raises(DefinitionInvalid) as error:
        only(step_type, **fields)
    assert [(fault.pointer, fault.code) for fault in error.value.faults] == [(f"/steps/0{place}", code)]


def test_a_name_that_is_only_a_title_is_told() -> None:
    with pytest.raises(DefinitionInvalid) as error:
        only("signal", name="paid")
    assert error.value.faults[0].message == "needs `name` under `inputs`"
