"""Reads what a definition says of its workflows as a whole: how they start, how many may run, what they may cost."""

from __future__ import annotations

from typing import cast, get_args

from workflow_engine.definition.faults import Faults, clipped, join
from workflow_engine.definition.fields import Fields
from workflow_engine.definition.key_parts import read_key
from workflow_engine.definition.limits import MAX_DAYS, MAX_STEPS
from workflow_engine.definition.scope import json_type
from workflow_engine.definition.workflow_plan import (
    Bound,
    Budget,
    Concurrency,
    ConcurrencyConflict,
    Idempotency,
    IdempotencyConflict,
    OnExceeded,
    Retention,
)

MAX_CONCURRENCY_KEYS = 8
"""Of one definition."""
MAX_CONCURRENT = 100_000
"""Workflows with one key."""
MAX_TOKENS = 10**12
MAX_COST = 1e9
"""US dollars."""
MAX_RETENTION = 10 * MAX_DAYS
"""Seconds."""

_DEFAULT_TTL = 24 * 3600.0


def read_idempotency(top: Fields, warnings: Faults) -> Idempotency | None:
    part = top.part("idempotency")
    if part is None:
        return None
    part.refuse_unknown(("key", "on_conflict", "ttl"))
    key = read_key(part)
    if key and not any("path" in piece for piece in key):
        warnings.add(part.at("key"), "constant-key", "is the same for every start, so that only the first one counts")
    conflict = part.choice("on_conflict", get_args(IdempotencyConflict)) or "return_existing"
    ttl = part.duration("ttl", most=MAX_DAYS) or _DEFAULT_TTL
    return Idempotency(key, cast(IdempotencyConflict, conflict), ttl) if key else None


def read_concurrency(top: Fields) -> tuple[Concurrency, ...]:
    values = top.items("concurrency") or []
    if len(values) > MAX_CONCURRENCY_KEYS:
        message = f"has {len(values):,} entries, {MAX_CONCURRENCY_KEYS} are allowed"
        top.fault("concurrency", "out-of-range", message)
        return ()
    found: list[Concurrency] = []
    for index, value in enumerate(values):
        place = join(top.at("concurrency"), index)
        if not isinstance(value, dict):
            top.faults.add(
                place, "validation-error", f"must be an object with `key` and `limit`, not {json_type(value)}"
            )
            continue
        part = Fields(value, place, top.faults)
        part.refuse_unknown(("key", "limit", "on_conflict"))
        key = read_key(part)
        if part.get("limit") is None:
            part.fault("limit", "validation-error", "is missing: how many workflows with this key may run at a time")
        limit = part.integer("limit", 1, MAX_CONCURRENT) or 1
        conflict = part.choice("on_conflict", get_args(ConcurrencyConflict)) or "queue"
        if any(key and one.key == key for one in found):
            part.fault("key", "validation-error", f"{clipped(value['key'])} is named twice")
        found.append(Concurrency(key, limit, cast(ConcurrencyConflict, conflict)))
    return tuple(found)


def read_budget(top: Fields) -> Budget | None:
    part = top.part("budget")
    return None if part is None else read_bounds(part)


def read_bounds(part: Fields) -> Budget:
    """A budget by its own fields."""
    part.refuse_unknown(("tokens", "cost_usd", "steps", "on_exceeded"))
    budget = Budget(
        tokens=_read_bound(part, "tokens", MAX_TOKENS),
        cost_usd=_read_bound(part, "cost_usd", MAX_COST),
        steps=_read_bound(part, "steps", MAX_STEPS * 1000),
        on_exceeded=cast(OnExceeded, part.choice("on_exceeded", get_args(OnExceeded)) or "pause"),
    )
    if not any(name in part.values for name in ("tokens", "cost_usd", "steps")):
        part.faults.add(part.pointer, "validation-error", "names no bound: write `tokens`, `cost_usd` or `steps`")
    return budget


def _read_bound(budget: Fields, name: str, most: float) -> Bound | None:
    part = budget.part(name)
    if part is None:
        return None
    part.refuse_unknown(("soft", "hard"))
    for bound in ("soft", "hard"):
        if name != "cost_usd":
            part.integer(bound, 1, int(most))
        elif part.get(bound) == 0:
            part.fault(bound, "out-of-range", "must be more than zero")
    soft, hard = (part.get(bound) for bound in ("soft", "hard"))
    if name == "cost_usd":
        soft, hard = part.number("soft", 0, most), part.number("hard", 0, most)
    if soft is None and hard is None:
        budget.fault(name, "validation-error", "needs `soft`, `hard` or both")
    numbers = [bound for bound in (soft, hard) if isinstance(bound, int | float)]
    if len(numbers) == 2 and numbers[0] > numbers[1]:
        part.fault("soft", "out-of-range", "must be at most `hard`")
    return Bound(soft, hard)


def read_retention(top: Fields) -> Retention | None:
    part = top.part("retention")
    if part is None:
        return None
    part.refuse_unknown(("succeeded", "failed", "cancelled"))
    return Retention(**{name: part.duration(name, most=MAX_RETENTION) for name in ("succeeded", "failed", "cancelled")})
