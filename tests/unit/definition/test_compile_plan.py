"""Good documents: what they mean."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_engine.definition.compile import compile_definition
from workflow_engine.definition.plan import CompiledDefinition, Plan, PlanStep
from workflow_engine.definition.retries import RetryPolicy

RUNBOOK_BODY = """{
  "name": "data-pipeline",
  "steps": [
    {"id": "fetch", "type": "http", "url": "..."},
    {"id": "process", "type": "agent", "agent": "processor", "depends_on": ["fetch"]},
    {"id": "store", "type": "database", "depends_on": ["process"]}
  ]
}"""


def compiled(*steps: dict[str, Any], **top: Any) -> CompiledDefinition:
    return compile_definition({"name": "x", "steps": list(steps), **top}, task_types=["thumbnail"])


def only(**fields: Any) -> PlanStep:
    """The one step of a definition."""
    return compiled({"id": "a", "type": "noop", **fields}).plan.steps[0]


def test_the_runbooks_body_is_accepted_and_warned_about() -> None:
    definition = compile_definition(json.loads(RUNBOOK_BODY), task_types=[])
    assert definition.name == "data-pipeline"
    assert [(warning.pointer, warning.code) for warning in definition.warnings] == [("/steps/0/url", "not-a-url")]
    assert [
        (step.id, step.dependencies, step.successors, step.references, step.inputs and step.inputs.source)
        for step in definition.plan.steps
    ] == [
        ("fetch", (), (1,), (), {"url": "..."}),
        ("process", (0,), (2,), (0,), {"agent": "processor"}),
        ("store", (1,), (), (1,), None),
    ]


def test_the_stored_plan_has_the_agreed_form() -> None:
    definition = compiled(
        {"id": "a", "type": "noop", "retries": 2, "timeout": "1m"}, labels={"team": "x"}, fail_fast=False, priority=3
    )
    assert definition.plan.to_json() == {
        "name": "x",
        "labels": {"team": "x"},
        "fail_fast": False,
        "priority": 3,
        "vars": {},
        "input_schema": None,
        "steps": [
            {
                "index": 0,
                "id": "a",
                "type": "noop",
                "queue": "default",
                "priority": 0,
                "dependencies": [],
                "ordering": [],
                "successors": [],
                "references": [],
                "uses_input": False,
                "inputs": None,
                "output": None,
                "when": None,
                "idempotency_key": None,
                "retries": {
                    "max_attempts": 3,
                    "initial_delay": 1.0,
                    "backoff": 2.0,
                    "max_delay": 60.0,
                    "jitter": "full",
                    "max_elapsed": None,
                    "retry_on": [],
                    "no_retry_on": [],
                    "when": None,
                },
                "timeout": 60.0,
                "on_error": "fail",
            }
        ],
    }


def test_a_plan_survives_the_database_and_keys_of_a_newer_engine() -> None:
    plan = compiled(
        {"id": "a", "type": "http", "url": "http://x/${ input.path }", "retries": {"retry_on": ["http.5xx"]}},
        {"id": "b", "type": "transform", "expression": "steps.a.output", "idempotency_key": "k-${ input.k }"},
        vars={"deep": {"list": [1, None]}},
        input_schema={"type": "object"},
    ).plan
    stored = json.loads(json.dumps(plan.to_json()))
    assert Plan.from_json(stored) == plan
    stored["new"] = stored["steps"][0]["new"] = 1
    assert Plan.from_json(stored) == plan
    assert plan.by_id["b"].index == 1


def test_a_reference_brings_its_dependency_which_only_orders() -> None:
    plan = compiled(
        {"id": "a-1", "type": "noop"},
        {"id": "b", "type": "noop", "depends_on": ["a-1"]},
        {"id": "c", "type": "transform", "expression": "steps.a_1.output.x + steps.b.output.y", "depends_on": ["b"]},
    ).plan
    assert plan.by_id["c"].dependencies == (0, 1)
    assert plan.by_id["c"].ordering == (0,)
    assert plan.by_id["c"].references == (0, 1)
    assert plan.by_id["a-1"].successors == (1, 2)


@pytest.mark.parametrize(
    "fields",
    [
        {"when": "steps.r.status == 'succeeded'"},
        {"output": {"deep": ["x ${ steps.r.output }"]}},
        {"idempotency_key": "${ steps.r.output.key }"},
        {"retries": {"when": "has(steps.r.output) && error.attempt < 3"}},
        {"type": "thumbnail", "inputs": {"a": "${ steps['r'].output }"}},
        {"type": "thumbnail", "inputs": "${ steps.r.output }"},
        {"type": "http", "url": "http://x/${ steps.r.?output.id.orValue(0) }"},
        {"type": "database", "inputs": {"total": "${ steps.r.output.total }"}},
        {"type": "database", "statements": [{"statement": "select %s", "params": ["${ steps.r.output.id }"]}]},
    ],
)
def test_references_are_found_wherever_an_expression_may_stand(fields: dict[str, Any]) -> None:
    step = compiled({"id": "a", "type": "noop", **fields}, {"id": "r", "type": "noop"}).plan.steps[0]
    assert (step.dependencies, step.ordering, step.references) == ((1,), (1,), (1,))


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ({"type": "agent", "agent": "x"}, True),
        ({"type": "agent", "agent": "x", "input": "fixed"}, False),
        ({"type": "agent", "inputs": {"agent": "x", "goal": "win"}}, True),
        ({"type": "database"}, True),
        ({"type": "database", "transactional": True}, True),
        ({"type": "database", "inputs": {"fixed": 1}}, False),
        ({"type": "database", "statement": "select 1"}, False),
        ({"type": "thumbnail"}, True),
        ({"type": "thumbnail", "inputs": {"size": 5}}, True),
        ({"type": "noop"}, False),
        ({"type": "http", "url": "http://x"}, False),
    ],
)
def test_types_that_work_on_their_dependencies_get_their_outputs(fields: dict[str, Any], needed: bool) -> None:
    plan = compiled({"id": "d", "type": "noop"}, {"id": "a", "depends_on": ["d"], **fields}).plan
    assert plan.by_id["a"].references == ((0,) if needed else ())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"when": "input.x == 1"}, True),
        ({"output": "${ [1].map(x, x + input.y) }"}, True),
        ({"retries": {"when": "input.retry == true"}}, True),
        ({"when": "vars.input == 1"}, False),
        ({"output": "input ${ [1].map(input, input) }"}, False),
    ],
)
def test_whether_a_step_reads_the_input_is_known(fields: dict[str, Any], expected: bool) -> None:
    assert only(**fields).uses_input is expected


def test_flat_style_and_inputs_mean_the_same() -> None:
    flat = only(type="http", url="http://x", method="POST", body={"a": "${ input.a }"})
    nested = only(type="http", inputs={"url": "http://x", "method": "POST", "body": {"a": "${ input.a }"}})
    assert flat == nested


def test_a_transform_has_its_expression_as_a_template() -> None:
    def source(expression: str) -> Any:
        step = only(type="transform", expression=expression)
        assert step.inputs is not None
        return step.inputs

    assert source("input.x").source == {"value": "${ input.x }"}
    assert source("input.x // why }").render({"input": {"x": 1}}) == {"value": 1}
    assert source("{'a': '${ }'}").render({}) == {"value": {"a": "${ }"}}


def test_defaults_apply_to_steps_that_do_not_say_otherwise() -> None:
    plan = compiled(
        {"id": "a", "type": "noop"},
        {"id": "b", "type": "noop", "retries": 0, "timeout": "1s", "queue": "slow"},
        {"id": "c", "type": "noop", "retries": {"initial_delay": "5s"}},
        defaults={"retries": {"max_attempts": 7, "when": "input.retry == true"}, "timeout": "1m30s", "queue": "fast"},
    ).plan
    assert [step.timeout for step in plan.steps] == [90, 1, 90]
    assert [step.queue for step in plan.steps] == ["fast", "slow", "fast"]
    assert [step.retries and step.retries.max_attempts for step in plan.steps] == [7, 1, 7]
    assert plan.by_id["c"].retries == RetryPolicy(max_attempts=7, initial_delay=5.0, when="input.retry == true")
    assert plan.by_id["a"].uses_input


def test_silence_leaves_retries_and_timeout_to_the_handler() -> None:
    step = only()
    assert step.retries is None
    assert step.timeout is None


def test_every_field_of_a_retry_policy_is_read() -> None:
    written = {
        "max_attempts": 5,
        "initial_delay": "500ms",
        "backoff": 3,
        "max_delay": "PT2M",
        "jitter": "none",
        "max_elapsed": "10m",
        "retry_on": ["timeout", "http.5xx", "*"],
        "no_retry_on": ["user.card-declined"],
        "when": "error.attempt < 3",
    }
    assert only(retries=written).retries == RetryPolicy(
        max_attempts=5,
        initial_delay=0.5,
        backoff=3.0,
        max_delay=120.0,
        jitter="none",
        max_elapsed=600.0,
        retry_on=("timeout", "http.5xx", "*"),
        no_retry_on=("user.card-declined",),
        when="error.attempt < 3",
    )


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("...", True),
        ("example.com/x", True),
        ("localhost:8080/x", True),
        ("http://", True),
        ("http://x:port/", True),
        ("http://x y/", True),
        ("http://x", False),
        ("https://user@example.com:8443/a?b=c", False),
        ("HTTP://X", False),
        ("http://[::1]:80/", False),
        ("${ input.url }", False),
        ("http://${ input.host }/x", False),
    ],
)
def test_a_url_that_cannot_be_one_is_warned_about(url: str, warned: bool) -> None:
    definition = compiled({"id": "a", "type": "http", "inputs": {"url": url}})
    assert [warning.pointer for warning in definition.warnings] == (["/steps/0/inputs/url"] if warned else [])


def test_placeholders_in_constants_are_warned_about() -> None:
    definition = compiled({"id": "a", "type": "noop"}, vars={"list": ["${ input.x }"], "fine": "$5"})
    assert [(warning.pointer, warning.code) for warning in definition.warnings] == [("/vars/list/0", "not-a-template")]


def test_a_record_with_a_field_that_looks_like_sql_is_warned_about() -> None:
    definition = compiled({"id": "a", "type": "database", "inputs": {"statment": "select 1", "total": 5}})
    assert [(w.pointer, w.code) for w in definition.warnings] == [("/steps/0/inputs/statment", "near-miss")]


def test_null_counts_as_absent_and_extensions_are_free() -> None:
    plain = compiled({"id": "a", "type": "http", "url": "http://x"})
    noted = compiled(
        {"id": "a", "type": "http", "url": "http://x", "method": None, "when": None, "timeout": None, "x-owner": {}},
        description=None,
        vars=None,
        **{"x-anything": [1]},
    )
    assert noted.plan == plain.plan
    assert noted.hash != plain.hash


def test_the_hash_depends_on_content_and_not_on_order() -> None:
    one = compile_definition({"name": "x", "steps": [{"id": "a", "type": "noop"}]})
    same = compile_definition({"steps": [{"type": "noop", "id": "a"}], "name": "x"})
    other = compile_definition({"name": "x", "steps": [{"id": "b", "type": "noop"}]})
    assert one.hash == same.hash
    assert one.hash != other.hash
    assert len(one.hash) == 64


@given(st.permutations(range(6)), st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_the_same_document_always_gives_the_same_plan(order: list[int], edges: set[tuple[int, int]]) -> None:
    steps: list[dict[str, Any]] = [{"id": f"s{n}", "type": "noop", "depends_on": []} for n in range(6)]
    for later, earlier in sorted(edges):
        if earlier < later:
            steps[later]["depends_on"].append(f"s{earlier}")
    document: dict[str, Any] = {"name": "x", "steps": [steps[n] for n in order]}
    first, second = compile_definition(document), compile_definition(json.loads(json.dumps(document)))
    assert first == second
    by_index = first.plan.steps
    for step in by_index:
        assert all(step.index in by_index[other].successors for other in step.dependencies)
        assert {by_index[other].id for other in step.dependencies} == set(document["steps"][step.index]["depends_on"])


def chain(size: int) -> list[dict[str, Any]]:
    return [{"id": f"s{n}", "type": "noop", "depends_on": [f"s{n - 1}"] if n else []} for n in range(size)]


def layers(width: int, depth: int) -> list[dict[str, Any]]:
    """Each step of a layer waits for ten of the layer before."""
    return [
        {"id": f"s{d}_{w}", "type": "noop", "depends_on": [f"s{d - 1}_{n}" for n in range(10)] if d else []}
        for d in range(depth)
        for w in range(width)
    ]


@pytest.mark.parametrize("steps", [chain(10_000), layers(100, 100)], ids=["chain", "layers"])
def test_the_largest_definitions_compile_in_seconds(steps: list[dict[str, Any]]) -> None:
    # Anything quadratic takes minutes; the bound is loose enough for a busy machine.
    began = time.process_time()
    assert len(compiled(*steps).plan.steps) == 10_000
    assert time.process_time() - began < 10
