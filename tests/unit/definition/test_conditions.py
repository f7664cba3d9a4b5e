"""What a step waits for and when it runs: conditions, cases, rules, and what they ask for."""

from typing import Any

import pytest

from workflow_engine.definition.compile import compile_definition
from workflow_engine.definition.plan import Plan
from workflow_engine.definition.step_plan import Case, Condition, Rule, Switch, Timeouts
from workflow_engine.errors import DefinitionInvalid

ROUTE = {
    "id": "route",
    "type": "switch",
    "cases": [{"id": "big", "when": "input.n > 10"}, {"id": "odd", "when": "input.n % 2 == 1"}],
}


def plan_of(*steps: dict[str, Any], **top: Any) -> Plan:
    return compile_definition({"name": "x", "steps": list(steps), **top}).plan


def noop(step_id: str, **fields: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "noop", **fields}


def test_an_object_is_a_condition_and_an_id_is_none() -> None:
    plan = plan_of(
        noop("a"),
        noop("b", depends_on=["a"]),
        noop("c", depends_on=[{"step": "a"}, "b"]),
        noop("d", depends_on=[{"step": "a", "on": ["failed", "skipped"]}]),
        noop("e", depends_on=[{"step": "a", "on": "failed"}]),
    )
    assert [dict(step.conditions) for step in plan.steps] == [
        {},
        {},
        {0: Condition(("succeeded",))},
        {0: Condition(("failed", "skipped"))},
        {0: Condition(("failed",))},
    ]


def test_cases_of_one_switch_are_alternatives() -> None:
    plan = plan_of(
        ROUTE,
        noop("b", depends_on=[{"step": "route", "case": "big"}, {"step": "route", "case": "odd"}]),
        noop("c", depends_on=[{"step": "route", "case": ["big", "default"]}]),
    )
    assert plan.steps[0].switch == Switch((Case("big", "input.n > 10"), Case("odd", "input.n % 2 == 1")))
    assert plan.steps[1].conditions == {0: Condition((), ("big", "odd"))}
    assert plan.steps[2].conditions == {0: Condition((), ("big", "default"))}


def test_the_default_case_may_have_a_name() -> None:
    plan = plan_of(
        {**ROUTE, "default": "rest", "mode": "all"}, noop("b", depends_on=[{"step": "route", "case": "rest"}])
    )
    switch = plan.steps[0].switch
    assert switch is not None
    assert (switch.default, switch.mode) == ("rest", "all")


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"depends_on": ["a"]}, False),
        ({"depends_on": [{"step": "a", "on": ["failed"]}]}, True),
        ({"depends_on": [{"step": "a", "on": ["succeeded", "skipped"]}]}, False),
        ({"depends_on": ["a"], "trigger_rule": "all_done"}, True),
        ({"depends_on": ["a"], "trigger_rule": "one_failed"}, True),
        ({"depends_on": ["a"], "trigger_rule": "all_failed"}, True),
        ({"depends_on": ["a"], "trigger_rule": "none_failed"}, False),
        ({"depends_on": ["a"], "trigger_rule": "always"}, False),
        ({"when": "steps.a.status == 'failed'", "trigger_rule": "all_done"}, False),
    ],
)
def test_who_asks_for_a_failure_is_known(fields: dict[str, Any], asked: bool) -> None:
    assert plan_of(noop("a"), noop("b", **fields)).steps[0].asked is asked


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("auto", None),
        (None, None),
        ("none_failed", Rule("none_failed")),
        ({"min_success": 2}, Rule("min_success", 2)),
    ],
)
def test_rules_have_a_name(rule: Any, expected: Rule | None) -> None:
    plan = plan_of(noop("a"), noop("b"), noop("c", depends_on=["a", "b"], trigger_rule=rule))
    assert plan.steps[2].rule == expected


def test_time_limits_have_four_kinds() -> None:
    (step,) = plan_of(
        noop(
            "a",
            timeouts={"schedule_to_start": "5m", "start_to_close": "30s", "heartbeat": 10, "schedule_to_close": "1h"},
        )
    ).steps
    assert (step.timeout, step.timeouts) == (30.0, Timeouts(300.0, 10.0, 3600.0))


@pytest.mark.parametrize(
    ("entry", "place", "code"),
    [
        ({"step": "route", "case": "small"}, "/depends_on/0/case", "unknown-dependency"),
        ({"step": "a", "case": "big"}, "/depends_on/0/case", "unknown-dependency"),
        ({"step": "a", "on": ["ended"]}, "/depends_on/0/on", "validation-error"),
        ({"step": "a", "on": []}, "/depends_on/0/on", "validation-error"),
        ({"step": "route", "case": 5}, "/depends_on/0/case", "validation-error"),
        ({"stpe": "a"}, "/depends_on/0/stpe", "unknown-property"),
    ],
)
def test_a_condition_that_cannot_be_is_refused(entry: dict[str, Any], place: str, code: str) -> None:
    with pytest.raises(DefinitionInvalid) as error:
        plan_of(noop("a"), ROUTE, noop("b", depends_on=[entry]))
    assert (error.value.faults[0].pointer, error.value.faults[0].code) == (f"/steps/2{place}", code)


@pytest.mark.parametrize(
    "entries",
    [
        ["a", "a"],
        ["a", {"step": "a"}],
        [{"step": "a", "on": ["failed"]}, {"step": "a", "on": ["skipped"]}],
        [{"step": "route", "case": "big"}, {"step": "route", "case": "big"}],
        [{"step": "route", "case": "big"}, {"step": "route"}],
    ],
)
def test_a_dependency_is_named_once(entries: list[Any]) -> None:
    with pytest.raises(DefinitionInvalid) as error:
        plan_of(noop("a"), ROUTE, noop("b", depends_on=entries))
    assert [(fault.pointer, fault.code) for fault in error.value.faults] == [
        ("/steps/2/depends_on/1", "duplicate-dependency")
    ]


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({}, "/cases"),
        ({"cases": []}, "/cases"),
        ({"cases": ["a"]}, "/cases/0"),
        ({"cases": [{"id": "a"}]}, "/cases/0/when"),
        ({"cases": [{"id": "a b", "when": "true"}]}, "/cases/0/id"),
        ({"cases": [{"id": "a", "when": "true"}, {"id": "a", "when": "false"}]}, "/cases/1/id"),
        ({"cases": [{"id": "a", "when": "'text'"}]}, "/cases/0/when"),
        ({"cases": [{"id": "a", "when": "true"}], "mode": "some"}, "/mode"),
        ({"cases": [{"id": "a", "when": "true"}], "default": 5}, "/default"),
        ({"cases": [{"id": "a", "when": "true"}], "inputs": {"cases": []}}, "/inputs/cases"),
    ],
)
def test_a_switch_that_cannot_choose_is_refused(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(DefinitionInvalid) as error:
        plan_of({"id": "s", "type": "switch", **fields})
    assert [fault.pointer for fault in error.value.faults] == [f"/steps/0{place}"]


CATCH_ALL = {"catch": [{"errors": ["timeout", "*"]}, {"errors": ["http"]}]}


@pytest.mark.parametrize(
    ("fields", "place", "code"),
    [
        ({"depends_on": [{"step": "a", "on": ["cancelled"]}]}, "/depends_on/0", "never-met"),
        ({"depends_on": ["a"], "trigger_rule": "always"}, "/depends_on", "no-effect"),
        ({"trigger_rule": "all_done"}, "/trigger_rule", "no-effect"),
        ({"on_error": CATCH_ALL}, "/on_error/catch/1", "never-reached"),
        ({"type": "wait", "duration": 5, "locks": ["ledger"]}, "", "no-effect"),
    ],
)
def test_what_has_no_effect_is_warned_about(fields: dict[str, Any], place: str, code: str) -> None:
    compiled = compile_definition({"name": "x", "steps": [noop("a"), noop("b", **fields)]})
    assert [(warning.pointer, warning.code) for warning in compiled.warnings] == [(f"/steps/1{place}", code)]


def test_what_is_meant_is_not_warned_about() -> None:
    steps = [noop("a"), noop("b", trigger_rule="always"), noop("c", depends_on=["a"], trigger_rule="all_done")]
    catches = {"catch": [{"errors": ["*"], "when": "error.attempt > 1"}, {"errors": ["*"]}]}
    assert compile_definition({"name": "x", "steps": [*steps, noop("d", on_error=catches)]}).warnings == ()
