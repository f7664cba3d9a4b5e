"""/admin/definitions: which there are, which versions of them run, and how their workflows ended lately."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflow_engine.access import Scope
from workflow_engine.api.answers import cursor_of, read_cursor
from workflow_engine.dashboard.page import Group, Page
from workflow_engine.dashboard.versions import ends_counted_since, live_versions, recent_ends
from workflow_engine.dashboard.visit import Visit
from workflow_engine.errors import InputInvalid
from workflow_engine.store.definitions import MOST_LIVE

_ROWS = 50
_SHOWN = (("In use", None, False), ("Deleted", "deleted", True), ("All", "all", None))
_LEAST = 0.9  # of those that ended lately: where fewer succeeded, it stands out


async def read(visit: Visit) -> Mapping[str, Any]:
    part = visit.asked("name").strip().replace("\0", "")
    shown = visit.asked("show") or None
    deleted = next((deleted for _, value, deleted in _SHOWN if value == shown), False)
    try:
        after = read_cursor(visit.asked("cursor")).replace("\0", "") if visit.asked("cursor") else ""
    except InputInvalid:
        after = ""  # of another list: from the beginning
    found = await visit.store.definitions.list(after=after, part=part, deleted=deleted, limit=_ROWS + 1)
    definitions = found[:_ROWS]
    live = await live_versions(visit)
    ends = await recent_ends(visit, [definition.name for definition in definitions])
    return {
        "definitions": [
            (definition, live.of(definition.name), ends.get((definition.name, None))) for definition in definitions
        ],
        "part": part,
        "shown": shown,
        "choices": [(label, visit.here(show=value, cursor=None), deleted == wanted) for label, value, wanted in _SHOWN],
        "least": _LEAST,
        "counted_since": await ends_counted_since(visit),
        "most_live": MOST_LIVE if live.total >= MOST_LIVE else None,
        "first": visit.here(cursor=None) if after else None,
        "more": visit.here(cursor=cursor_of(definitions[-1].name)) if len(found) > _ROWS else None,
    }


PAGE = Page("/admin/definitions", "definitions.html", read, Scope.DEFINITIONS_READ, "Definitions", "f", Group.WORK)
