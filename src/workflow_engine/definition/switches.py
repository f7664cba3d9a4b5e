"""Reads the cases of a `switch`."""

from __future__ import annotations

import re
from typing import Any, cast

from workflow_engine.definition.faults import clipped, join
from workflow_engine.definition.fields import Fields
from workflow_engine.definition.limits import MAX_CASES
from workflow_engine.definition.scope import json_type
from workflow_engine.definition.step_plan import Case, Switch, SwitchMode

_CASE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_CASE_RULE = "up to 64 of A-Z a-z 0-9 _ . -, not beginning with . or -"


def read_switch(step: Fields, inputs: Any) -> Switch:
    """The cases, their default and the mode, which is an own field."""
    values = step.items("cases")
    if not values:
        step.fault(
            "cases", "validation-error", 'needs at least one case, such as {"id": "big", "when": "input.n > 10"}'
        )
        values = []
    if len(values) > MAX_CASES:
        step.fault("cases", "out-of-range", f"has {len(values):,} cases, {MAX_CASES} are allowed")
        values = []
    cases: dict[str, Case] = {}
    for index, value in enumerate(values):
        place = join(step.at("cases"), index)
        if not isinstance(value, dict):
            step.faults.add(place, "validation-error", f"must be an object with id and when, not {json_type(value)}")
            continue
        case = _read_case(Fields(value, place, step.faults))
        if case.id in cases:
            step.faults.add(join(place, "id"), "validation-error", f"{clipped(case.id)} is the id of two cases")
        cases[case.id] = case
    mode = inputs.get("mode") if isinstance(inputs, dict) else None
    return Switch(
        cases=tuple(cases.values()),
        default=step.matching("default", _CASE_ID, "invalid-name", _CASE_RULE) or "default",
        mode=cast(SwitchMode, mode if mode == "all" else "first"),
    )


def _read_case(case: Fields) -> Case:
    case.refuse_unknown(("id", "when"))
    for name in ("id", "when"):
        if case.get(name) is None:
            case.fault(name, "validation-error", "is missing")
    return Case(case.matching("id", _CASE_ID, "invalid-name", _CASE_RULE) or "", case.text("when") or "")
