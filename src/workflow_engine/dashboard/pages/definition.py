"""/admin/definitions/{name}: its versions, what changed between them, what they look like, and starting one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from workflow_engine.access import Scope
from workflow_engine.dashboard.actions import Action, Field
from workflow_engine.dashboard.page import Page
from workflow_engine.dashboard.pages import definition_tabs
from workflow_engine.dashboard.pages.definition_tabs import MOST_OFFERED
from workflow_engine.dashboard.versions import DAYS, ends_counted_since, live_versions, recent_ends
from workflow_engine.dashboard.visit import Visit
from workflow_engine.records import Definition

PATH = "/admin/definitions/{name}"

_LARGEST_DOCUMENT = 64 * 1024  # characters of one that a button may hold


async def read(visit: Visit) -> Mapping[str, Any]:
    name = str(visit.request.path_params["name"])
    latest = await visit.store.definitions.get(name)
    tabs = [tab for tab in definition_tabs.TABS if visit.may(tab.scope)]
    tab = next((tab for tab in tabs if tab.key == visit.asked("tab")), tabs[0])
    live = (await live_versions(visit)).of(name)
    ends = await recent_ends(visit, [name])
    return {
        "definition": latest,
        "default": latest.pinned_version or latest.latest_version,
        "live": live,
        "ends": ends.get((name, None)),
        "days": DAYS,
        "counted_since": await ends_counted_since(visit),
        "tabs": [(each.key, each.title, visit.url(f"/admin/definitions/{name}", tab=each.key)) for each in tabs],
        "tab": tab.key,
        "actions": [*_actions(latest)],
        **await tab.read(visit, latest, live, ends),
    }


def _actions(latest: Definition) -> Iterator[Action]:
    path = f"/workflows/{latest.name}/pin"
    numbers = range(latest.latest_version, max(0, latest.latest_version - MOST_OFFERED), -1)
    if latest.pinned_version is not None:
        yield Action(
            "Unpin",
            path,
            Scope.WORKFLOWS_CONTROL,
            "What is started from now on is on version {version}, the latest.",
            ask=f"What is started from now on is on the latest version, {latest.latest_version}, instead of"
            f" {latest.pinned_version}. What is there stays as it is.",
            method="DELETE",
        )
    if latest.latest_version > 1:
        yield Action(
            "Pin a version",
            path,
            Scope.WORKFLOWS_CONTROL,
            "What is started from now on is on version {version}.",
            ask="What is started from now on is on this version, also when others are registered later; unless whoever"
            " starts it names another. What is there stays as it is.",
            fields=(
                Field("version", "Version", "query", "choice", options=[(str(n), f"version {n}") for n in numbers]),
            ),
        )
    if latest.disabled_at is None:
        yield Action(
            "Delete",
            f"/definitions/{latest.name}",
            Scope.DEFINITIONS_WRITE,
            "It starts nothing new.",
            ask="Nothing new of it is started: starts by its name are refused, and its schedule ends. What runs goes"
            " on; its versions can be read, and registering it once more takes this back.",
            destroys=True,
            method="DELETE",
        )
    elif len(str(latest.document)) <= _LARGEST_DOCUMENT:
        yield Action(
            "Take the deletion back",
            "/definitions",
            Scope.DEFINITIONS_WRITE,
            "It can be started again, with version {version}.",
            ask=f"Its latest version, {latest.latest_version}, is registered once more; so it can be started again.",
            body=latest.document,
        )


PAGE = Page(PATH, "definition.html", read, Scope.DEFINITIONS_READ)
