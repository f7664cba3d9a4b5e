"""Reads what a step waits for and when it then runs: `depends_on` and `trigger_rule`."""

from __future__ import annotations

from typing import Any, cast, get_args

from workflow_engine.definition.faults import clipped, did_you_mean, join
from workflow_engine.definition.fields import Fields
from workflow_engine.definition.limits import MAX_CASES, MAX_DEPENDENCIES
from workflow_engine.definition.scope import json_type
from workflow_engine.definition.step_plan import Condition, Rule, RuleName
from workflow_engine.definition.step_records import Edge

STATUSES = ("succeeded", "failed", "skipped", "cancelled")
"""In which a step can end."""
RULES = ("auto", *(name for name in get_args(RuleName) if name != "min_success"))


def read_edges(step: Fields) -> tuple[Edge, ...]:
    """The entries of `depends_on`; those that name cases of one switch are made one."""
    if isinstance(given := step.get("depends_on"), str):
        step.fault("depends_on", "validation-error", f'must be a list: write ["{given[:64]}"]')
        return ()
    values = step.items("depends_on") or []
    if len(values) > MAX_DEPENDENCIES:
        message = f"has {len(values):,} dependencies, {MAX_DEPENDENCIES:,} are allowed"
        step.fault("depends_on", "too-many-dependencies", message)
        return ()
    found: dict[str, Edge] = {}
    whole = step.at("depends_on")
    for index, value in enumerate(values):
        place = join(whole, index)
        if isinstance(value, str):
            edge = Edge(value, place)
        elif isinstance(value, dict):
            read = _read_condition(Fields(value, place, step.faults))
            if read is None:
                continue
            edge = read
        else:
            step.faults.add(place, "validation-error", f"must be the id of a step or an object, not {json_type(value)}")
            continue
        before = found.get(edge.step)
        if before is None:
            found[edge.step] = edge
        elif merged := _alternatives(before, edge):
            found[edge.step] = merged
        else:
            step.faults.add(place, "duplicate-dependency", f"{clipped(edge.step)} is listed twice")
    return tuple(found.values())


def _read_condition(entry: Fields) -> Edge | None:
    entry.refuse_unknown(("step", "on", "case"))
    step = entry.text("step")
    if entry.get("step") is None:
        entry.fault("step", "validation-error", "is missing: the id of a step")
    cases = tuple(_texts(entry, "case"))
    if len(cases) > MAX_CASES:
        entry.fault("case", "out-of-range", f"names {len(cases):,} cases, {MAX_CASES} are allowed")
    statuses = tuple(dict.fromkeys(_texts(entry, "on")))
    for status in statuses:
        if status not in STATUSES:
            hint = did_you_mean(status, STATUSES) or f"; write one of {', '.join(STATUSES)}"
            entry.fault("on", "validation-error", f"{clipped(status)} is no status in which a step ends{hint}")
    if entry.get("on") == []:
        entry.fault("on", "validation-error", "must name at least one status")
    if step is None:
        return None
    return Edge(step, entry.pointer, Condition(statuses if statuses or cases else ("succeeded",), cases))


def _texts(entry: Fields, name: str) -> list[str]:
    """One text or a list of them."""
    value: Any = entry.get(name)
    values = value if isinstance(value, list) else [] if value is None else [value]
    for item in values:
        if not isinstance(item, str):
            entry.fault(name, "validation-error", f"must be a string or a list of them, not {json_type(item)}")
    return [item for item in values if isinstance(item, str)]


def _alternatives(one: Edge, other: Edge) -> Edge | None:
    """Both entries as one, when both name cases of the same switch."""
    if one.condition is None or other.condition is None or one.condition.on != other.condition.on:
        return None
    cases = (*one.condition.cases, *other.condition.cases)
    if not one.condition.cases or not other.condition.cases or len(set(cases)) < len(cases):
        return None
    return Edge(one.step, one.place, Condition(one.condition.on, cases))


def read_rule(step: Fields, edges: tuple[Edge, ...]) -> Rule | None:
    """`trigger_rule`; None = auto."""
    if isinstance(step.get("trigger_rule"), dict):
        part = cast(Fields, step.part("trigger_rule"))
        part.refuse_unknown(("min_success",))
        if part.get("min_success") is None:
            part.fault("min_success", "validation-error", "is missing: how many must have succeeded")
        least = part.integer("min_success", 1, MAX_DEPENDENCIES)
        if least is not None and least > len(edges):
            message = f"can never be met: there are {len(edges):,} entries in `depends_on`"
            part.fault("min_success", "out-of-range", message)
        return Rule("min_success", least)
    name = step.choice("trigger_rule", RULES)
    if name in ("one_success", "one_failed") and not edges:
        step.fault("trigger_rule", "validation-error", f"`{name}` can never be met: `depends_on` is empty")
    return None if name in (None, "auto") else Rule(cast(RuleName, name))
