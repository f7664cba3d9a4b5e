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
            "Unpinned: new workflows use version {version}, the latest.",
            ask=f"New workflows will use the latest version, {latest.latest_version}, instead of"
            f" {latest.pinned_version}. Existing workflows keep their version.",
            method="DELETE",
        )
    if latest.latest_version > 1:
        yield Action(
            "Pin a version",
            path,
            Scope.WORKFLOWS_CONTROL,
            "Pinned: new workflows use version {version}.",
            ask="New workflows will use this version, even when newer ones are registered, unless whoever starts"
            " them asks for another. Existing workflows keep their version.",
            fields=(
                Field("version", "Version", "query", "choice", options=[(str(n), f"version {n}") for n in numbers]),
            ),
        )
    if latest.disabled_at is None:
        yield Action(
            "Delete",
            f"/definitions/{latest.name}",
            Scope.DEFINITIONS_WRITE,
            "Deleted: it cannot be started any more.",
            ask="No new workflows of it can be started, and its schedule ends. What runs goes on, and its versions"
            " can still be read. Registering it again restores it.",
            destroys=True,
            method="DELETE",
        )
    elif len(str(latest.document)) <= _LARGEST_DOCUMENT:
        yield Action(
            "Restore",
            "/definitions",
            Scope.DEFINITIONS_WRITE,
            "Restored: it can be started again, with version {version}.",
            ask=f"Registers its latest version, {latest.latest_version}, again, so that it can be started.",
            body=latest.document,
        )


PAGE = Page(PATH, "definition.html", read, Scope.DEFINITIONS_READ)
