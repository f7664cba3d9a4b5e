"""What can be told beforehand about steps that wait or steer, such as `signal`, `workflow` and `terminate`."""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection

from workflow_engine.definition.faults import clipped, did_you_mean, join
from workflow_engine.definition.fields import Fields
from workflow_engine.definition.http_request import check_url
from workflow_engine.definition.input_schema import check_schema
from workflow_engine.definition.limits import MAX_DAYS
from workflow_engine.definition.own_fields import OwnFields
from workflow_engine.definition.scope import json_type

MAX_EVENTS = 1_000
"""That one `signal` step waits for."""
MAX_OUTCOMES = 20
MAX_ASSIGNEES = 100

_SIGNAL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}")
_SIGNAL_RULE = "up to 128 of A-Z a-z 0-9 _ . : -, not beginning with . : or -"
_OUTCOME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
_ON_TIMEOUT = ("fail", "continue")


def check_switch(own: OwnFields) -> None:
    _check_choice(own, "mode", ("first", "all"))


def check_child(own: OwnFields) -> None:
    _check_choice(own, "on_parent_cancel", ("cancel", "abandon"))
    version = own.values.get("version")
    if isinstance(version, int) and not isinstance(version, bool) and version < 1:
        own.refuse("version", "versions count from 1", "out-of-range")
    if "definition" in own.values:
        if not isinstance(own.values["definition"], dict):
            own.refuse(
                "definition", "must be an object: steps are checked at submit and cannot come from an expression"
            )
        if "version" in own.values:
            own.refuse("version", "`version` and `definition` cannot be given together")


def check_wait(own: OwnFields) -> None:
    _check_duration(own, "duration", zero=True)
    until = own.values.get("until")
    if isinstance(until, str) and "${" not in until and not _is_time(until):
        own.refuse("until", f"{clipped(until)} is no RFC 3339 time such as 2030-01-31T09:00:00Z")


def check_signal(own: OwnFields) -> None:
    _check_signal_name(own)
    _check_timeout(own)
    count = own.values.get("count")
    if isinstance(count, int) and not isinstance(count, bool) and not 1 <= count <= MAX_EVENTS:
        own.refuse("count", f"must be an integer from 1 to {MAX_EVENTS:,}", "out-of-range")


def check_approval(own: OwnFields) -> None:
    _check_timeout(own)
    schema = own.values.get("form_schema")
    if isinstance(schema, dict):
        own.faults.extend(check_schema(schema, own.places["form_schema"]))
    outcomes = own.values.get("outcomes")
    if isinstance(outcomes, list):
        if not 1 <= len(outcomes) <= MAX_OUTCOMES or len({str(one) for one in outcomes}) < len(outcomes):
            own.refuse("outcomes", f"must name 1 to {MAX_OUTCOMES} different outcomes", "out-of-range")
        _check_texts(own, "outcomes", _OUTCOME, "up to 64 of A-Z a-z 0-9 _ -")
    assignees = own.values.get("assignees")
    if isinstance(assignees, list):
        if len(assignees) > MAX_ASSIGNEES:
            own.refuse("assignees", f"has {len(assignees):,} entries, {MAX_ASSIGNEES} are allowed", "out-of-range")
        _check_texts(own, "assignees", re.compile(r".{1,256}"), "up to 256 characters")


def check_emit(own: OwnFields) -> None:
    _check_signal_name(own)
    _check_choice(own, "to", ("signal", "webhook"))
    to = own.values.get("to", "signal")
    if to == "webhook" and "url" not in own.values:
        own.refuse("to", "a webhook needs its `url`")
    for name, goes_to in (("url", "webhook"), ("workflow_id", "signal")):
        if name in own.values and isinstance(to, str) and "${" not in to and to != goes_to:
            own.refuse(name, f"`{name}` is for `to: {goes_to}`")
    if "url" in own.values:
        check_url(own.values["url"], own.places["url"], own.faults, own.warnings)


def check_terminate(own: OwnFields) -> None:
    _check_choice(own, "status", ("succeeded", "failed", "cancelled"))


def _check_signal_name(own: OwnFields) -> None:
    name = own.values.get("name")
    if isinstance(name, str) and "${" not in name and not _SIGNAL_NAME.fullmatch(name):
        own.refuse("name", f"{clipped(name)} is not accepted: {_SIGNAL_RULE}", "invalid-name")


def _check_timeout(own: OwnFields) -> None:
    _check_duration(own, "timeout")
    _check_choice(own, "on_timeout", _ON_TIMEOUT)
    if "on_timeout" in own.values and "timeout" not in own.values:
        where = " under `inputs`" if "timeout" in own.common else ""
        own.refuse("on_timeout", f"needs a `timeout`{where}")


def _check_duration(own: OwnFields, name: str, *, zero: bool = False) -> None:
    value = own.values.get(name)
    if isinstance(value, str) and "${" in value:
        return
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        place = own.places[name]
        Fields({name: value}, place.removesuffix(join("", name)), own.faults).duration(name, most=MAX_DAYS, zero=zero)


def _check_choice(own: OwnFields, name: str, choices: Collection[str]) -> None:
    value = own.values.get(name)
    if isinstance(value, str) and "${" not in value and value not in choices:
        hint = did_you_mean(value, choices) or f"; write one of {', '.join(choices)}"
        own.refuse(name, f"{clipped(value)} is not accepted{hint}")


def _check_texts(own: OwnFields, name: str, pattern: re.Pattern[str], rule: str) -> None:
    for index, value in enumerate(own.values[name]):
        if isinstance(value, str) and ("${" in value or pattern.fullmatch(value)):
            continue
        shown = clipped(value) if isinstance(value, str) else json_type(value)
        own.faults.add(join(own.places[name], index), "validation-error", f"{shown} is not accepted: {rule}")


def _is_time(text: str) -> bool:
    try:
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).tzinfo is not None
    except ValueError:
        return False
