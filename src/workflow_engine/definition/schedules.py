"""When workflows start by themselves: cron expressions of five fields, in a time zone."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from typing import cast, get_args

from workflow_engine.definition.faults import clipped, did_you_mean, join
from workflow_engine.definition.fields import Fields
from workflow_engine.definition.scope import json_type
from workflow_engine.definition.workflow_plan import Catchup, Overlap, Schedule

MAX_SCHEDULES = 16
"""Of one definition."""

_FIELDS = ("cron", "timezone", "overlap", "catchup", "input")
_CRON_FIELD = re.compile(r"[0-9A-Za-z*/,#-]{1,100}")
_LONGEST_WAIT = 10  # years: a 29 February comes within eight
_WORDS = frozenset(
    {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
    | {"sun", "mon", "tue", "wed", "thu", "fri", "sat", "l"}
)
_EXAMPLE = "write minute, hour, day of month, month and day of week, such as 0 6 * * 1-5"


def read_schedules(top: Fields) -> tuple[Schedule, ...]:
    values = top.items("schedule") or []
    if len(values) > MAX_SCHEDULES:
        top.fault("schedule", "out-of-range", f"has {len(values):,} entries, {MAX_SCHEDULES} are allowed")
        return ()
    found = []
    for index, value in enumerate(values):
        place = join(top.at("schedule"), index)
        if isinstance(value, dict):
            found.append(_read_schedule(Fields(value, place, top.faults)))
        else:
            top.faults.add(place, "validation-error", f"must be an object with `cron`, not {json_type(value)}")
    return tuple(found)


def _read_schedule(entry: Fields) -> Schedule:
    entry.refuse_unknown(_FIELDS)
    cron, zone = entry.text("cron", longest=500), entry.text("timezone", longest=100)
    if entry.get("cron") is None:
        entry.fault("cron", "invalid-schedule", f"is missing: {_EXAMPLE}")
    elif cron is not None and (problem := cron_problem(cron)):
        entry.fault("cron", "invalid-schedule", problem)
    if zone is not None and not is_zone(zone):
        hint = did_you_mean(zone, zoneinfo.available_timezones()) or "; write a name such as Europe/Berlin or UTC"
        entry.fault("timezone", "invalid-schedule", f"there is no time zone {clipped(zone)}{hint}")
    return Schedule(
        cron=" ".join((cron or "").split()),
        timezone=zone or "UTC",
        overlap=cast(Overlap, entry.choice("overlap", get_args(Overlap)) or "skip"),
        catchup=cast(Catchup, entry.choice("catchup", get_args(Catchup)) or "latest"),
        input=entry.get("input"),
    )


def cron_problem(text: str) -> str | None:
    """What is wrong with a cron expression; None when it is one that fires."""
    parts = text.split()
    if len(parts) != 5:
        return f"{clipped(text)} has {len(parts)} fields, not five: {_EXAMPLE}"
    words = re.findall(r"[a-z]+", text.lower())  # croniter has others, for times by chance
    if not all(_CRON_FIELD.fullmatch(part) for part in parts) or not _WORDS.issuperset(words):
        return f"{clipped(text)} is no cron expression: {_EXAMPLE}"
    start = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    from croniter import CroniterBadDateError, CroniterError, croniter  # few definitions have a schedule

    try:
        croniter(text, start, max_years_between_matches=_LONGEST_WAIT).get_next(datetime.datetime)
    except CroniterBadDateError:
        return f"{clipped(text)} never comes: there is no such day"
    except (CroniterError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        return f"{clipped(text)} is no cron expression ({str(error)[:120]}): {_EXAMPLE}"
    return None


def is_zone(name: str) -> bool:
    """Whether it is the IANA name of a time zone."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
