"""Reads where a step runs, how often it is tried, and how long it may take: `queue`, `retries`, `timeouts`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from workflow_engine.definition.fields import Fields
from workflow_engine.definition.limits import MAX_ATTEMPTS, MAX_BACKOFF, MAX_DAYS, MAX_ELAPSED, MAX_TIMEOUT
from workflow_engine.definition.retries import Jitter
from workflow_engine.definition.step_plan import Timeouts

ERROR_PATTERN = re.compile(r"\*|[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
ERROR_RULE = "write an error such as timeout, http.503, http.5xx or *"

# Postgres allows 63 bytes for the name of a notification channel, and a queue's channel has a prefix.
_QUEUE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,39}")
_RETRY_FIELDS = (
    "max_attempts", "initial_delay", "backoff", "max_delay", "jitter", "max_elapsed", "retry_on", "no_retry_on", "when",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Defaults:
    """What steps have that do not say otherwise.

    Attributes:
        retries: Fields of the retry policy; empty when nothing is said.
    """

    retries: Mapping[str, Any]
    timeout: float | None
    queue: str


def read_defaults(top: Fields) -> Defaults:
    part = top.part("defaults")
    if part is None:
        return Defaults({}, None, "default")
    part.refuse_unknown(("retries", "timeout", "queue"))
    return Defaults(
        retries=read_retries(part) or {},
        timeout=part.duration("timeout", most=MAX_TIMEOUT),
        queue=read_queue(part) or "default",
    )


def read_queue(fields: Fields) -> str | None:
    return fields.matching("queue", _QUEUE, "invalid-name", "up to 40 of A-Z a-z 0-9 _ . -, not beginning with . or -")


def read_retries(fields: Fields) -> dict[str, Any] | None:
    """The given fields of a retry policy. An integer counts the tries after the first."""
    given = fields.get("retries")
    if given is None:
        return None
    if not isinstance(given, dict):
        after_first = fields.integer("retries", 0, MAX_ATTEMPTS - 1)
        return None if after_first is None else {"max_attempts": after_first + 1}
    part = Fields(given, fields.at("retries"), fields.faults)
    part.refuse_unknown(_RETRY_FIELDS)
    policy: dict[str, Any] = {
        "max_attempts": part.integer("max_attempts", 1, MAX_ATTEMPTS),
        "initial_delay": part.duration("initial_delay", most=MAX_TIMEOUT, zero=True),
        "backoff": part.number("backoff", 1, MAX_BACKOFF),
        "max_delay": part.duration("max_delay", most=MAX_TIMEOUT, zero=True),
        "jitter": cast(Jitter | None, part.choice("jitter", ("full", "none"))),
        "max_elapsed": part.duration("max_elapsed", most=MAX_ELAPSED),
        "when": part.text("when"),
    }
    for name in ("retry_on", "no_retry_on"):
        if part.get(name) == []:
            part.fault(name, "validation-error", "must name at least one error; to never retry write `retries: 0`")
        policy[name] = tuple(part.names(name, ERROR_PATTERN, ERROR_RULE))
    return {name: value for name, value in policy.items() if value not in (None, ())}


def read_timeouts(step: Fields, *, longest: float) -> tuple[float | None, Timeouts | None]:
    """Seconds for one attempt, and the other time limits. `timeout` is short for `timeouts.start_to_close`.

    Args:
        step: The fields of a step.
        longest: Seconds one attempt may be given.
    """
    timeout = step.duration("timeout", most=longest)
    part = step.part("timeouts")
    if part is None:
        return timeout, None
    part.refuse_unknown(("schedule_to_start", "start_to_close", "heartbeat", "schedule_to_close"))
    whole = part.duration("start_to_close", most=longest)
    if whole is not None and step.get("timeout") is not None:
        part.fault("start_to_close", "duplicate-property", "`timeout` means the same: give one of them")
    timeouts = Timeouts(
        schedule_to_start=part.duration("schedule_to_start", most=MAX_DAYS),
        heartbeat=part.duration("heartbeat", most=MAX_TIMEOUT),
        schedule_to_close=part.duration("schedule_to_close", most=MAX_DAYS),
    )
    whole = timeout if whole is None else whole
    for name, limit in (("heartbeat", whole), ("start_to_close", timeouts.schedule_to_close)):
        given = timeouts.heartbeat if name == "heartbeat" else whole
        if limit is not None and given is not None and given > limit and part.get(name) is not None:
            larger = "start_to_close" if name == "heartbeat" else "schedule_to_close"
            part.fault(name, "out-of-range", f"must be at most `{larger}`, {limit:g} seconds")
    return whole, timeouts if timeouts != Timeouts() else None
