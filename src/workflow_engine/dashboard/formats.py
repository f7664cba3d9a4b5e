"""How things look on pages: times, lengths of time, numbers, states. Each is a filter of the templates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from markupsafe import Markup, escape

from workflow_engine.definition.drawing.picture import LOOKS, UNREACHED, said
from workflow_engine.records import Task

_NOTHING = Markup('<span class="none">–</span>')
_WORKER_GLYPHS = {"active": "▶", "draining": "◷", "dead": "✗", "stopped": "⊘"}
# What an attempt came to; the state that looks like it.
_OF_OUTCOME = {"retried": "failed", "released": "cancelled", "lost": "failed"}
_OF_ALERT = {"critical": ("failed", "✗"), "warning": ("paused", "!"), "info": ("scheduled", "i")}
# The same of approvals and deliveries.
_OF_WAITS = {
    "open": "waiting",
    "answered": "succeeded",
    "expired": "failed",
    "withdrawn": "cancelled",
    "delivered": "succeeded",
    "failing": "draining",
    "given up": "failed",
}
_LONGEST_LINE = 160


def ago(moment: datetime | None, now: datetime | None = None) -> Markup:
    """How long ago, or in how long; the script of the page keeps it right, and shows the time when it is pointed at."""
    if moment is None:
        return _NOTHING
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    shown = f"{lasting(seconds)} ago" if seconds >= 0 else f"in {lasting(-seconds)}"
    exact = moment.astimezone(UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        exact.isoformat(timespec="milliseconds"), exact.strftime("%Y-%m-%d %H:%M:%S UTC"), shown
    )


def clock(moment: datetime) -> Markup:
    """The time of day to the millisecond, for lines that follow each other: in UTC, or as the reader chose."""
    exact = moment.astimezone(UTC)
    return Markup('<time class="clock" datetime="{}" title="{}">{}</time>').format(
        exact.isoformat(timespec="milliseconds"),
        exact.strftime("%Y-%m-%d %H:%M:%S UTC"),
        f"{exact:%H:%M:%S}.{exact.microsecond // 1000:03}",
    )


def so_far(moment: datetime, idle: float = 0.0) -> Markup:
    """How long something has been going on, without the seconds for which it lay idle; kept right by the script."""
    exact = moment.astimezone(UTC)
    return Markup('<time class="so-far" datetime="{}" data-idle="{}" title="{}">{}</time>').format(
        exact.isoformat(timespec="milliseconds"),
        round(idle, 3),
        exact.strftime("since %Y-%m-%d %H:%M:%S UTC"),
        lasting(max((datetime.now(UTC) - moment).total_seconds() - idle, 0)),
    )


def lasting(seconds: float | None) -> str:
    """A length of time in its two largest units: `3 m 12 s`."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.0005 else "0 s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, below, small in ((86_400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {unit} {rest} {small}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def number(value: float | None, *, most: int | None = None) -> str:
    """With separators; `1,000+` where counting ended at `most`."""
    if value is None:
        return "–"
    return f"{value:,.0f}{'+' if most is not None and value >= most else ''}"


def percent(part: float | None) -> str:
    """A part of a whole; all of it only if it is all, and nothing only if it is nothing."""
    if part is None:
        return "–"
    shown = f"{part * 100:.1f}"
    if part < 1 and shown == "100.0":
        return "99.9 %"
    return f"{shown} %" if shown not in ("100.0", "0.0") else f"{part * 100:.0f} %" if part in (0, 1) else "0.1 %"


def size(count: int | None) -> str:
    """Bytes, in the unit that leaves few digits."""
    if count is None:
        return "–"
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} {units[0]}" if value >= 10 or units[0] == "B" else f"{value:.1f} {units[0]}"


def state(status: str | None, word: str | None = None) -> Markup:
    """A state by sign, word and colour."""
    if not status:
        return _NOTHING
    look = {**_OF_OUTCOME, **_OF_WAITS}.get(status, status)
    sign = _WORKER_GLYPHS.get(look) or ("Ⅱ" if look == "paused" else LOOKS.get(look, LOOKS["step"]).glyph)
    return Markup('<span class="state {}"><span class="sign" aria-hidden="true">{}</span>{}</span>').format(
        look, sign, word or said(status)
    )


def task_state(task: Task) -> Markup:
    """The same of a task: what only did not run, as a step before it failed, is not what went wrong."""
    return state(UNREACHED if task.is_unreached else task.status)


def alert_state(state: str, severity: str) -> Markup:
    """How an alert stands, by sign, word and colour: of one that fires, how bad it is."""
    look, sign = _OF_ALERT.get(severity, ("", "·")) if state == "firing" else ("", "◷" if state == "pending" else "✓")
    return Markup('<span class="state {}"><span class="sign" aria-hidden="true">{}</span>{}</span>').format(
        look, sign, severity if state == "firing" else state
    )


def short(id_: UUID | str) -> str:
    """The end of an id: the beginnings of workflows of the same hour are the same."""
    return str(id_)[-12:]


def first_line(text: object) -> str:
    """What fits into a line of a table."""
    line = next((line for line in str(text or "").splitlines() if line.strip()), "")
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…"


def pretty(value: Any) -> str:
    """JSON for people. The standard library writes it a hundred times slower when it is indented."""
    return orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2).decode()


def as_attribute(value: Any) -> Markup:
    """JSON for the script, inside an attribute with double quotes."""
    return escape(json.dumps(value, ensure_ascii=False, default=str))


def as_request(path: str, method: str = "GET", query: Mapping[str, Any] | None = None) -> Markup:
    """A request of the API, which the script shows as a curl line."""
    return as_attribute({"method": method, "path": path, "query": dict(query or {})})


FILTERS = {
    "ago": ago,
    "clock": clock,
    "so_far": so_far,
    "lasting": lasting,
    "number": number,
    "percent": percent,
    "size": size,
    "state": state,
    "task_state": task_state,
    "alert_state": alert_state,
    "short": short,
    "first_line": first_line,
    "pretty": pretty,
    "as_attribute": as_attribute,
    "as_request": as_request,
}
