"""A compiled definition is stored as the functions read it: steps of all scopes, and the scopes."""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb

from workflow_engine.definition.compile import compile_definition
from workflow_engine.store.definitions import graph_of

from .engine import Engine

DOCUMENT: dict[str, Any] = {
    "name": "scopes",
    "steps": [
        {"id": "a", "type": "noop", "timeouts": {"schedule_to_start": "5m"}, "compensate": {"type": "noop"}},
        {"id": "m", "type": "noop", "for_each": {"items": 2}, "on_error": {"catch": [{"errors": ["*"]}]}},
        {
            "id": "b",
            "type": "block",
            "steps": [{"id": "x", "type": "noop"}, {"id": "y", "type": "noop", "depends_on": ["x"]}],
            "depends_on": [{"step": "a", "on": ["failed"]}, "m"],
            "trigger_rule": {"min_success": 1},
        },
    ],
    "on_exit": {"steps": [{"id": "z", "type": "noop"}]},
}


def test_the_steps_of_all_scopes_are_stored_with_what_the_functions_need(engine: Engine) -> None:
    compiled = compile_definition(DOCUMENT)
    register = "select workflow.register_definition(%s, %s, %s, %s, %s)"
    parameters = [compiled.name, Jsonb(dict(DOCUMENT)), compiled.hash, Jsonb(compiled.plan.to_json()),
                  Jsonb(graph_of(compiled.plan))]  # fmt: skip
    assert [engine.value(register, *parameters), engine.value(register, *parameters)] == [1, 1]

    assert engine.value("select has_ending from workflow.definition_versions")
    steps = engine.rows(
        "select id, type, scope, depth, kind, body, catches, asked, compensation from workflow.definition_steps"
        " order by step_index"
    )
    assert [tuple(step.values()) for step in steps] == [
        ("a", "noop", 0, 0, "step", False, False, True, 3),
        ("m", "for_each", 0, 0, "step", False, True, False, None),
        ("b", "block", 0, 0, "step", False, False, False, None),
        ("a.compensate", "noop", 0, 0, "compensation", False, False, False, None),
        ("on_exit", "block", 0, 0, "on_exit", False, False, False, None),
        ("m", "noop", 1, 1, "step", True, False, False, None),
        ("x", "noop", 2, 1, "step", False, False, False, None),
        ("y", "noop", 2, 1, "step", False, False, False, None),
        ("z", "noop", 3, 1, "step", False, False, False, None),
    ]
    (block,) = engine.rows("select rule, conditions from workflow.definition_steps where id = 'b'")
    assert block == {"rule": {"name": "min_success", "min": 1}, "conditions": {"0": {"on": ["failed"]}}}
    assert engine.value("select timeouts from workflow.definition_steps where id = 'a'") == {"schedule_to_start": 300.0}
    scopes = engine.rows(
        "select scope, parent_step, kind, depth, final_steps, refs from workflow.definition_scopes order by scope"
    )
    assert [tuple(scope.values()) for scope in scopes] == [
        (1, 1, "item", 1, 1, []),
        (2, 2, "block", 1, 1, [7]),
        (3, 4, "block", 1, 1, [8]),
    ]
