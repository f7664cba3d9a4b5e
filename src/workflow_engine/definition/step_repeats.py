"""Reads what a step repeats: `for_each` and `loop`."""

from __future__ import annotations

import re
from typing import Any

from workflow_engine.definition.faults import clipped
from workflow_engine.definition.fields import Fields
from workflow_engine.definition.limits import MAX_ITEMS, MAX_ITERATIONS, MAX_TIMEOUT
from workflow_engine.definition.scope import CEL_RESERVED, VARIABLES, json_type
from workflow_engine.definition.step_records import ForEachRecord, LoopRecord
from workflow_engine.definition.templates import is_one_placeholder

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_DEFAULT_ITERATIONS = 100


def read_for_each(step: Fields) -> ForEachRecord | None:
    part = step.part("for_each")
    if part is None:
        return None
    part.refuse_unknown(("items", "as", "concurrency", "max_failures", "max_failure_ratio"))
    _check_items(part)
    return ForEachRecord(
        pointer=part.pointer,
        items=part.get("items"),
        as_=_read_as(part) or "item",
        concurrency=part.integer("concurrency", 1, MAX_ITEMS),
        max_failures=part.integer("max_failures", 0, MAX_ITEMS) or 0,
        max_failure_ratio=part.number("max_failure_ratio", 0, 1) or 0.0,
    )


def static_size(items: Any) -> int | None:
    """How many items there will be, where it can be told."""
    if isinstance(items, bool | str):
        return None
    if isinstance(items, int):
        return max(items, 0)
    return len(items) if isinstance(items, list | dict) else None


def _check_items(part: Fields) -> None:
    items = part.get("items")
    if items is None:
        part.fault("items", "validation-error", "is missing: a list, an object, a number, or a ${ } that gives one")
    elif isinstance(items, str):
        if not is_one_placeholder(items):
            message = "must be exactly one ${ } that gives a list, an object or a number"
            part.fault("items", "validation-error", message)
    elif isinstance(items, bool) or not isinstance(items, int | list | dict):
        part.fault("items", "validation-error", f"must be a list, an object or an integer, not {json_type(items)}")
    elif isinstance(items, int) and items < 0:
        part.fault("items", "out-of-range", "must be zero or more")
    elif (size := static_size(items)) is not None and size > MAX_ITEMS:
        message = f"gives {size:,} items, {MAX_ITEMS:,} are allowed: work on parts of them, or in child workflows"
        part.fault("items", "expansion-limit", message)


def _read_as(part: Fields) -> str | None:
    name = part.matching("as", _NAME, "invalid-name", "a letter or _, then up to 63 of A-Z a-z 0-9 _")
    if name is None or name == "item":
        return name
    if name in CEL_RESERVED:
        part.fault("as", "invalid-name", f"{clipped(name)} is reserved in expressions")
        return None
    if name in VARIABLES:
        part.fault("as", "invalid-name", f"{clipped(name)} is the name of another variable")
        return None
    return name


def read_loop(step: Fields) -> LoopRecord | None:
    part = step.part("loop")
    if part is None:
        return None
    part.refuse_unknown(("until", "max_iterations", "delay"))
    if part.get("until") is None:
        part.fault("until", "validation-error", "is missing: when the loop ends, such as `result.done`")
    return LoopRecord(
        pointer=part.pointer,
        until=part.text("until") or "",
        max_iterations=part.integer("max_iterations", 1, MAX_ITERATIONS) or _DEFAULT_ITERATIONS,
        delay=part.duration("delay", most=MAX_TIMEOUT, zero=True) or 0.0,
    )
