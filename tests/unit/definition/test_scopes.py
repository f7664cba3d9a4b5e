"""Steps inside steps: the flat list they become, what each may read, and what is refused."""

import json
from typing import Any

import pytest

from workflow_engine.definition.compile import compile_definition
from workflow_engine.definition.plan import Plan, PlanStep
from workflow_engine.definition.retries import RetryPolicy
from workflow_engine.definition.step_plan import Block, Catch, ForEach, Loop
from workflow_engine.definition.templates import Template
from workflow_engine.errors import CircularDependency, DefinitionInvalid


def plan_of(*steps: dict[str, Any], **top: Any) -> Plan:
    plan = compile_definition({"name": "x", "steps": list(steps), **top}, task_types=["thumbnail"]).plan
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    return plan


def refused(*steps: dict[str, Any], **top: Any) -> list[tuple[str, str]]:
    with pytest.raises(DefinitionInvalid) as error:
        compile_definition({"name": "x", "steps": list(steps), **top}, task_types=["thumbnail"], secrets=["KEY"])
    return [(fault.pointer, fault.code) for fault in error.value.faults]


def noop(step_id: str, **fields: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "noop", **fields}


def block(step_id: str, *steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "block", "steps": list(steps), **fields}


def outline(plan: Plan) -> list[tuple[str, str, int, int, str, bool]]:
    return [(s.id, s.type, s.scope, s.depth, s.kind, s.body) for s in plan.steps]


def test_a_repeated_step_becomes_a_parent_and_a_body() -> None:
    plan = plan_of(
        noop("a"),
        noop(
            "each",
            depends_on=["a"],
            when="input.x == 1",
            on_error="continue",
            queue="q",
            output="${ order }",
            retries=4,
            timeout="5s",
            locks=["ledger"],
            for_each={"items": "${ input.orders }", "as": "order", "concurrency": 3, "max_failures": 2},
        ),
    )
    assert outline(plan) == [
        ("a", "noop", 0, 0, "step", False),
        ("each", "for_each", 0, 0, "step", False),
        ("each", "noop", 1, 1, "step", True),
    ]
    parent, body = plan.steps[1], plan.steps[2]
    assert parent.for_each == ForEach(Template("${ input.orders }"), 1, "order", 3, 2, 0.0)
    assert (parent.dependencies, parent.when, parent.on_error, parent.queue) == ((0,), "input.x == 1", "continue", "q")
    assert (parent.output, parent.timeout, parent.resources, parent.uses_input) == (None, None, (), True)
    assert parent.retries == RetryPolicy(max_attempts=1)
    assert (body.dependencies, body.when, body.on_error, body.uses_input) == ((), None, "fail", False)
    assert (body.output, body.timeout, body.queue) == (Template("${ order }"), 5.0, "q")
    assert body.retries == RetryPolicy(max_attempts=5)
    assert [resource.key for resource in body.resources] == ["ledger"]
    (scope,) = plan.scopes
    assert (scope.kind, scope.parent_step, scope.steps, scope.final, scope.refs) == ("item", 1, (2,), (2,), ())
    assert scope.variables == ("order", "index")
    assert plan.whole(body) is parent


def test_for_each_and_loop_together_repeat_the_loop_for_each_item() -> None:
    plan = plan_of(
        noop(
            "p", for_each={"items": 3}, loop={"until": "result.done && index == 1", "max_iterations": 5, "delay": "2s"}
        )
    )
    assert outline(plan) == [
        ("p", "for_each", 0, 0, "step", False),
        ("p", "loop", 1, 1, "step", True),
        ("p", "noop", 2, 2, "step", True),
    ]
    assert plan.steps[1].loop == Loop(2, "result.done && index == 1", 5, 2.0)
    assert plan.steps[0].loop is None
    assert plan.whole(plan.steps[2]) is plan.steps[0]


def test_a_block_has_its_steps_in_a_scope_of_its_own() -> None:
    plan = plan_of(
        noop("a"),
        block("b", noop("a"), noop("z", depends_on=["a"], when="steps.a.status == 'x'"), output="${ steps.a.output }"),
        noop("c", depends_on=["b"]),
    )
    assert [step.id for step in plan.steps] == ["a", "b", "c", "a", "z"]
    outer = plan.steps[1]
    assert outer.block == Block(1, Template("${ steps.a.output }"))
    assert (outer.output, outer.dependencies, outer.references) == (None, (), ())  # its own `a`, not the one outside
    assert plan.steps[4].dependencies == (3,)
    assert (plan.scopes[0].steps, plan.scopes[0].final, plan.scopes[0].refs) == ((3, 4), (4,), (3,))
    assert plan.by_id["a"] is plan.steps[0]


def test_without_a_template_a_block_gives_the_outputs_of_its_last_steps() -> None:
    plan = plan_of(block("b", noop("p"), noop("q", depends_on=["p"]), noop("r")))
    assert [plan.steps[position].id for position in plan.scopes[0].refs] == ["q", "r"]


def test_a_step_inside_makes_the_step_around_wait_for_what_it_reads_outside() -> None:
    plan = plan_of(
        noop("a"),
        block("b", block("c", noop("d", when="steps.a.status == 'succeeded' && steps.e.status == 'x'")), noop("e")),
    )
    by_id = {step.id: step for step in plan.steps}
    a, b, c, d, e = (by_id[name] for name in "abcde")
    assert (b.dependencies, b.ordering, b.references) == ((a.index,), (a.index,), ())
    assert (c.dependencies, c.ordering, c.references) == ((e.index,), (e.index,), ())
    assert (d.dependencies, d.references, d.depth) == ((), (a.index, e.index), 2)
    assert a.successors == (b.index,)


def test_an_agent_in_a_body_gets_the_outputs_that_the_whole_waits_for() -> None:
    plan = plan_of(noop("a"), {"id": "g", "type": "agent", "agent": "x", "depends_on": ["a"], "for_each": {"items": 2}})
    assert [step.references for step in plan.steps] == [(), (), (0,)]


def test_a_catch_has_a_scope_when_it_has_steps() -> None:
    plan = plan_of(
        noop(
            "risky",
            on_error={
                "catch": [
                    {"errors": ["http.404"], "output": {"found": False}},
                    {"errors": ["*"], "when": "error.attempt > 1", "output": "${ steps.n.output }",
                     "steps": [noop("n", when="error.type == 'timeout'"), noop("m")]},
                ]
            },
        )
    )  # fmt: skip
    assert plan.steps[0].catch == (
        Catch(("http.404",), None, Template({"found": False}), None),
        Catch(("*",), "error.attempt > 1", Template("${ steps.n.output }"), 1),
    )
    scope = plan.scopes[0]
    assert (scope.kind, scope.parent_step, scope.refs, scope.variables) == ("catch", 0, (1,), ("error",))


def test_a_catch_belongs_to_the_whole_of_a_repeated_step() -> None:
    plan = plan_of(noop("p", for_each={"items": 2}, on_error={"catch": [{"errors": ["*"]}]}))
    assert [bool(step.catch) for step in plan.steps] == [True, False]


def test_what_follows_the_steps_stands_behind_them_and_is_made_when_needed() -> None:
    plan = plan_of(
        noop("charge", compensate={"type": "noop", "when": "steps.charge.status == 'succeeded'"}),
        noop("ship", depends_on=["charge"]),
        output={"id": "${ steps.ship.output }"},
        on_failure={"steps": [noop("tell", when="workflow.error.type == 'timeout' && steps.ship.status == 'failed'")]},
        on_exit={"steps": [noop("tidy", when="workflow.status == 'failed'")]},
    )
    assert [(s.id, s.type, s.kind, s.scope) for s in plan.steps] == [
        ("charge", "noop", "step", 0),
        ("ship", "noop", "step", 0),
        ("charge.compensate", "noop", "compensation", 0),
        ("on_failure", "block", "on_failure", 0),
        ("on_exit", "block", "on_exit", 0),
        ("output", "transform", "output", 0),
        ("tell", "noop", "step", 1),
        ("tidy", "noop", "step", 2),
    ]
    assert plan.has_ending
    assert plan.steps[0].compensation == 2
    assert [step.dependencies for step in plan.steps[2:]] == [()] * 6
    assert (plan.steps[2].references, plan.steps[5].references, plan.steps[6].references) == ((0,), (1,), (1,))
    assert plan.steps[5].inputs == Template({"value": {"id": "${ steps.ship.output }"}})
    assert set(plan.by_id) == {"charge", "ship"}


def test_a_plain_definition_has_no_ending_and_no_scopes() -> None:
    plan = plan_of(noop("a"))
    assert (plan.has_ending, plan.scopes) == (False, ())
    assert not {"scopes", "has_ending", "schedule", "timeout"} & plan.to_json().keys()


def test_a_step_that_waits_is_tried_once_and_has_no_default_time_limit() -> None:
    plan = plan_of(
        block("b", noop("a")),
        {"id": "w", "type": "wait", "duration": "5m", "retries": 2, "timeout": "30d"},
        defaults={"timeout": "5s", "retries": 5},
    )
    inner = plan.steps[2]
    assert [(step.retries and step.retries.max_attempts, step.timeout) for step in plan.steps] == [
        (1, None), (3, 30 * 86400.0), (6, 5.0)
    ]  # fmt: skip
    assert inner.id == "a"


def test_a_child_in_place_is_compiled_and_named_after_its_step() -> None:
    plan = plan_of(
        {"id": "Sub", "type": "workflow", "input": {"n": 1}, "definition": {"steps": [noop("q", when="input.n == 1")]}}
    )
    child = plan.steps[0].definition
    assert child is not None
    assert (child.name, [step.id for step in child.plan.steps]) == ("x_sub", ["q"])
    assert plan.steps[0].inputs == Template({"input": {"n": 1}})


def nested(depth: int) -> dict[str, Any]:
    step = noop("s")
    for level in range(depth):
        step = block(f"b{level}", step)
    return step


@pytest.mark.parametrize(
    ("steps", "top", "expected"),
    [
        ([block("b")], {}, [("/steps/0/steps", "validation-error")]),
        ([{"id": "b", "type": "block"}], {}, [("/steps/0/steps", "validation-error")]),
        ([block("b", noop("a"), noop("a"))], {}, [("/steps/0/steps/1/id", "duplicate-step-id")]),
        ([noop("a"), block("b", noop("c", depends_on=["a"]))], {},
         [("/steps/1/steps/0/depends_on/0", "unknown-dependency")]),
        ([block("b", noop("c")), noop("d", when="steps.c.status == 'x'")], {},
         [("/steps/1/when", "unknown-dependency")]),
        ([block("b", noop("c")), noop("d", depends_on=["c"])], {}, [("/steps/1/depends_on/0", "unknown-dependency")]),
        ([block("b", noop("c"), locks=["l"])], {}, [("/steps/0/locks", "validation-error")]),
        ([block("b", noop("c"), url="x")], {}, [("/steps/0/url", "unknown-property")]),
        ([noop("a", steps=[noop("b")])], {}, [("/steps/0/steps", "unknown-property")]),
        ([noop("a", for_each={"items": 1}), noop("b", when="item == 1")], {}, [("/steps/1/when", "invalid-template")]),
        ([block("b", noop("c", when="item == 1"))], {}, [("/steps/0/steps/0/when", "invalid-template")]),
        ([noop("a", when="workflow.status == 'failed'")], {}, [("/steps/0/when", "invalid-template")]),
        ([noop("a", when="secrets.KEY == 'x'")], {}, [("/steps/0/when", "invalid-template")]),
        ([{"id": "h", "type": "http", "url": "http://x", "headers": {"a": "${ secrets.KYE }"}}], {},
         [("/steps/0/headers/a", "unknown-secret")]),
        ([{"id": "h", "type": "http", "url": "http://x", "body": "${ secrets }"}], {},
         [("/steps/0/body", "invalid-template")]),
        ([{"id": "t", "type": "transform", "value": "${ secrets.KEY }"}], {}, [("/steps/0/value", "invalid-template")]),
        ([{"id": "t", "type": "database", "inputs": {"a": "${ secrets.KEY }"}}], {},
         [("/steps/0/inputs/a", "invalid-template")]),
        ([noop("a")], {"output": "${ secrets.KEY }"}, [("/output", "invalid-template")]),
        ([nested(17)], {}, [("/steps/0" + "/steps/0" * 16 + "/steps", "nesting-too-deep")]),
        ([block("b", *(noop(f"s{n}") for n in range(5_000))), block("c", *(noop(f"s{n}") for n in range(4_999)))], {},
         [("/steps/1/steps", "too-many-steps")]),
        ([block("a", block("b", noop("c", for_each={"items": 2}), for_each={"items": 2}), for_each={"items": 2})], {},
         [("/steps/0/steps/0/steps/0/for_each", "expansion-limit")]),
        ([{"id": "s", "type": "switch", "cases": [{"id": "a", "when": "true"}], "for_each": {"items": 1}}], {},
         [("/steps/0/type", "validation-error")]),
        ([{"id": "w", "type": "workflow", "definition": {"steps": [noop("a", depends_on=["b"])]}}], {},
         [("/steps/0/definition/steps/0/depends_on/0", "unknown-dependency")]),
        ([{"id": "w", "type": "workflow", "definition": {"steps": [noop("a", depends_on=["a"])]}}], {},
         [("/steps/0/definition/steps/0/depends_on", "cycle-detected")]),
        ([{"id": "w", "type": "workflow", "inputs": {"definition": "${ input.steps }"}}], {},
         [("/steps/0/inputs/definition", "validation-error")]),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_at_its_place(
    steps: list[dict[str, Any]], top: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert refused(*steps, **top) == expected


def test_a_circle_inside_a_block_is_found() -> None:
    with pytest.raises(CircularDependency) as error:
        plan_of(noop("a"), block("b", noop("p", depends_on=["q"]), noop("q", when="steps.p.status == 'x'")))
    assert error.value.cycle == ("p", "q", "p")
    assert error.value.faults[0].pointer == "/steps/1/steps/0/depends_on"


def test_a_circle_through_a_step_inside_is_found() -> None:
    with pytest.raises(CircularDependency) as error:
        plan_of(block("b", noop("p", when="steps.c.status == 'x'")), noop("c", depends_on=["b"]))
    assert error.value.cycle == ("b", "c", "b")


def test_a_step_cannot_read_the_step_around_it() -> None:
    with pytest.raises(CircularDependency) as error:
        plan_of(block("b", noop("p", when="steps.b.status == 'x'")))
    assert error.value.cycle == ("b", "b")


def test_the_whole_language_is_stored_and_read_again() -> None:
    step = PlanStep.from_json(json.loads(json.dumps(plan_of(noop("a")).steps[0].to_json())))
    assert (step.scope, step.kind, step.catch, dict(step.conditions)) == (0, "step", (), {})
