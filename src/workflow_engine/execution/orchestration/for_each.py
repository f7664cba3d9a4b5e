"""`for_each`: a step once per item."""

from __future__ import annotations

import math
from typing import Any

from workflow_engine.definition.scope import json_type
from workflow_engine.definition.step_plan import ForEach
from workflow_engine.errors import TaskError
from workflow_engine.execution.attempt import Attempt, Resumed, Waits
from workflow_engine.execution.orchestration.base import Definitions, Move, Orchestrated, scope_of
from workflow_engine.handlers.base import Outcome
from workflow_engine.handlers.inputs import invalid
from workflow_engine.handlers.output import encode_output

MAX_ITEMS = 10_000


async def _begin(attempt: Attempt, definitions: Definitions | None) -> Move:
    plan = attempt.step.for_each
    assert plan is not None
    items = _items(plan.items.render(attempt.names))
    if not items:
        return Outcome([])
    try:
        encode_output(items, attempt.limits.payload_bytes)
    except TaskError as error:
        raise TaskError(error.type, f"The items of for_each: {error.message}", retryable=False) from error
    fields: dict[str, Any] = {
        "scope": plan.scope,
        "instances": [
            {"position": index, "variables": {plan.as_: item, "index": index}} for index, item in enumerate(items)
        ],
        "tolerated": tolerated(plan, len(items)),
    }
    if plan.concurrency is not None:
        fields["width"] = plan.concurrency
    return Waits("scope", fields)


async def _resume(attempt: Attempt, resumed: Resumed) -> Move:
    return Outcome(scope_of(attempt, resumed)["outputs"])


def tolerated(plan: ForEach, items: int) -> int:
    """How many of so many items may fail: by number or by ratio, whichever allows more."""
    # 0.29 * 100 is a little less than 29.
    return max(plan.max_failures, math.floor(plan.max_failure_ratio * items + 1e-9))


def _items(value: Any) -> list[Any]:
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise invalid(f"for_each cannot take {value} items")
        count = value
    elif isinstance(value, list | dict):
        count = len(value)
    else:
        raise invalid(f"`items` of for_each must be a list, an object or a number of items, not {json_type(value)}")
    if count > MAX_ITEMS:
        raise invalid(f"for_each takes at most {MAX_ITEMS:,} items and got {count:,}: work through them in portions")
    if isinstance(value, dict):
        return [{"key": key, "value": item} for key, item in value.items()]
    return value if isinstance(value, list) else list(range(value))


FOR_EACH = Orchestrated("for_each", _begin, _resume, "Runs a step once per item: for steps with `for_each`")
