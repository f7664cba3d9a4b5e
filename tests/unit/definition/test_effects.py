"""Which steps do something outside once more when they run again."""

from __future__ import annotations

from typing import Any

import pytest

from workflow_engine.definition.compile import compile_definition
from workflow_engine.definition.effects import effects_of

URL = "https://example.com"


def effects(*steps: dict[str, Any]) -> list[tuple[str, str, str]]:
    plan = compile_definition({"name": "flow", "steps": list(steps)}, task_types=["thumbnail"]).plan
    return [(own, step.id, what) for own, step, what in effects_of(plan)]


@pytest.mark.parametrize(
    ("step", "effect"),
    [
        ({"type": "http", "url": URL}, None),
        ({"type": "http", "url": URL, "method": "head"}, None),
        ({"type": "http", "url": URL, "method": "put"}, "sends a PUT request"),
        ({"type": "http", "url": URL, "method": "${ input.m }"}, "sends a request"),
        ({"type": "http", "inputs": "${ input }"}, "sends a request"),
        ({"type": "database", "statement": "select 1"}, None),
        ({"type": "database", "statement": "delete from a", "mode": "execute"}, "changes a database"),
        ({"type": "database"}, "stores a record"),
        ({"type": "agent", "agent": "x"}, "runs an agent"),
        ({"type": "llm_inference", "prompt": "x"}, "asks a language model"),
        ({"type": "emit", "inputs": {"name": "done"}}, "sends an event"),
        ({"type": "approval", "prompt": "?"}, "asks people"),
        ({"type": "thumbnail"}, "runs thumbnail"),
        ({"type": "transform", "value": 1}, None),
        ({"type": "wait", "duration": "1s"}, None),
        ({"type": "noop"}, None),
    ],
)
def test_a_type_has_an_effect_or_not(step: dict[str, Any], effect: str | None) -> None:
    assert effects({"id": "a", **step}) == ([] if effect is None else [("a", "a", effect)])


def test_steps_inside_others_are_told_with_the_step_that_runs_again() -> None:
    inner = {"id": "send", "type": "http", "url": URL, "method": "POST"}
    group = {"id": "group", "type": "block", "steps": [inner], "for_each": {"items": [1, 2]}}

    assert effects({"id": "a", "type": "noop"}, group) == [("group", "send", "sends a POST request")]
