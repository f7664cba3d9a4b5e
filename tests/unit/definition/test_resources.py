"""Locks and limits in a document: what they mean, and what is refused."""

from typing import Any

import pytest

from workflow_engine.definition.compile import compile_definition
from workflow_engine.definition.plan import Plan, PlanStep
from workflow_engine.definition.resources import Resource
from workflow_engine.errors import DefinitionInvalid


def step(**fields: Any) -> PlanStep:
    return compile_definition({"name": "x", "steps": [{"id": "a", "type": "noop", **fields}]}).plan.steps[0]


def refused(**fields: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(DefinitionInvalid) as error:
        step(**fields)
    return [(fault.pointer.removeprefix("/steps/0/"), fault.code, fault.message) for fault in error.value.faults]


def test_a_lock_is_for_the_task_unless_it_says_for_the_workflow() -> None:
    assert step(locks=["ledger", {"key": "book:2026/a-1", "scope": "workflow"}]).resources == (
        Resource("lock", "book:2026/a-1", "workflow", 1, 1),
        Resource("lock", "ledger", "task", 1, 1),
    )


def test_a_limit_takes_one_unit_unless_it_says_more() -> None:
    assert step(
        limits=[{"key": "openai", "concurrency": 8}, {"key": "gpu", "concurrency": 4, "units": 2}]
    ).resources == (
        Resource("limit", "gpu", "task", 4, 2),
        Resource("limit", "openai", "task", 8, 1),
    )


def test_a_lock_and_a_limit_may_have_the_same_key() -> None:
    kinds = [r.kind for r in step(locks=["x"], limits=[{"key": "x", "concurrency": 1}]).resources]
    assert kinds == ["limit", "lock"]


def test_a_stored_plan_keeps_them_and_one_from_before_has_none() -> None:
    plan = compile_definition({"name": "x", "steps": [{"id": "a", "type": "noop", "locks": ["ledger"]}]}).plan
    stored = plan.to_json()
    assert Plan.from_json(stored) == plan
    del stored["steps"][0]["resources"]
    assert Plan.from_json(stored).steps[0].resources == ()


@pytest.mark.parametrize(
    ("fields", "place", "code", "part"),
    [
        ({"locks": "ledger"}, "locks", "validation-error", "must be a list"),
        ({"locks": [7]}, "locks/0", "validation-error", "a key or an object"),
        ({"locks": [""]}, "locks/0", "invalid-name", "not accepted"),
        ({"locks": ["a b"]}, "locks/0", "invalid-name", "not accepted"),
        ({"locks": ["x" * 129]}, "locks/0", "invalid-name", "up to 128"),
        ({"locks": ["order-${ input.id }"]}, "locks/0", "invalid-name", "evaluated on workers"),
        ({"locks": [{"scope": "task"}]}, "locks/0/key", "validation-error", "missing"),
        ({"locks": [{"key": ["x"]}]}, "locks/0/key", "validation-error", "must be a string"),
        ({"locks": [{"key": "x", "scope": "engine"}]}, "locks/0/scope", "validation-error", "task, workflow"),
        ({"locks": [{"key": "x", "ttl": 5}]}, "locks/0/ttl", "unknown-property", "unknown field"),
        ({"locks": ["x", "x"]}, "locks/1", "validation-error", "named twice"),
        ({"locks": [f"k{n}" for n in range(17)]}, "locks", "out-of-range", "16"),
        ({"limits": ["openai"]}, "limits/0", "validation-error", "an object with a key and a concurrency"),
        ({"limits": [{"key": "openai"}]}, "limits/0/concurrency", "validation-error", "missing"),
        ({"limits": [{"key": "x", "concurrency": 0}]}, "limits/0/concurrency", "out-of-range", "from 1"),
        ({"limits": [{"key": "x", "concurrency": 2, "units": 3}]}, "limits/0/units", "out-of-range", "never run"),
        ({"limits": [{"key": "x", "rate": "2/m", "units": 3}]}, "limits/0/units", "out-of-range", "never run"),
        ({"limits": [{"key": "${ vars.x }", "concurrency": 2}]}, "limits/0/key", "invalid-name", "plain text"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_at_its_place(fields: dict[str, Any], place: str, code: str, part: str) -> None:
    (fault,) = refused(**fields)
    assert fault[:2] == (place, code)
    assert part in fault[2]
