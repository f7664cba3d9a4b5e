"""Definitions with scopes and with steps for the end of a workflow, as the compiler would make them.

define(
    engine,
    {"pay": step(compensation="undo"), "undo": step(kind="compensation"), "on_exit": step(kind="on_exit")},
    {"on_exit": ("block", {"notify": step()})},
)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.types.json import Jsonb

from .engine import Claim, Completion, Engine

Step = Mapping[str, Any]
Scopes = Mapping[str, tuple[str, Mapping[str, Step]]]


def step(after: Sequence[str] = (), *, compensation: str | None = None, **fields: Any) -> Step:
    """A step; further fields are those of `workflow.definition_steps`."""
    return {"after": list(after), "undo": compensation, **fields}


def define(
    engine: Engine,
    steps: Mapping[str, Step],
    scopes: Scopes | None = None,
    *,
    name: str = "flow",
    plan: Mapping[str, Any] = {},
) -> int:
    """Register a version; `scopes` has a kind and steps for the step that opens them, outer ones first."""
    scopes = scopes or {}
    levels = [steps, *(inner for _, inner in scopes.values())]
    flat = [(level, key) for level, inside in enumerate(levels) for key in inside]
    position = {where: index for index, where in enumerate(flat)}
    parents = [next(where for where in flat if where[1] == parent) for parent in scopes]
    depths = [0]
    for level, _ in parents:
        depths.append(depths[level] + 1)
    rows = []
    for level, key in flat:
        fields = dict(levels[level][key])
        after, undo = fields.pop("after"), fields.pop("undo")
        rows.append(
            {
                "id": key,
                "type": "noop",
                "queue": "default",
                "priority": 0,
                "dependencies": [position[level, other] for other in after],
                "ordering": [],
                "successors": [position[level, other] for other, o in levels[level].items() if key in o["after"]],
                "refs": [],
                "uses_input": False,
                "tolerated": False,
                "scope": level,
                "depth": depths[level],
                "compensation": None if undo is None else position[level, undo],
                **fields,
            }
        )
    document = {"name": name, "rows": rows, "plan": dict(plan)}
    version: int = engine.value(
        "select workflow.register_definition(%s, %s, md5(%s::jsonb::text), %s, %s)",
        name,
        Jsonb(document),
        Jsonb(document),
        Jsonb(
            {
                **plan,
                "has_ending": any(row.get("kind", "step") != "step" for row in rows),
                "scopes": [
                    {
                        "scope": number,
                        "parent_step": position[parents[number - 1]],
                        "kind": kind,
                        "depth": depths[number],
                        "final_steps": sum(
                            not row["successors"] and row.get("kind", "step") == "step"
                            for row in rows
                            if row["scope"] == number
                        ),
                    }
                    for number, (kind, _) in enumerate(scopes.values(), 1)
                ],
            }
        ),
        Jsonb(rows),
    )
    return version


def child(claim: Claim, name: str = "child", **awaits: Any) -> Completion:
    """The task waits for a child workflow."""
    return claim.waiting("child", name=name, **awaits)
