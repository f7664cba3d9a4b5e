"""The tabs of a definition's page. Each reads what it shows and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from workflow_engine.access import Scope
from workflow_engine.api.dag import AT_ONCE, Dag
from workflow_engine.api.parameters import LARGEST_VERSION, natural
from workflow_engine.dashboard.actions import Action
from workflow_engine.dashboard.forms import Unfit, entries_of
from workflow_engine.dashboard.pages.workflow_tabs import MOST_DRAWN
from workflow_engine.dashboard.visit import Visit
from workflow_engine.definition.diff import as_yaml, in_order
from workflow_engine.definition.drawing.picture import Box, Picture
from workflow_engine.definition.drawing.svg import draw_in_page
from workflow_engine.definition.faults import clipped
from workflow_engine.definition.side_by_side import side_by_side
from workflow_engine.errors import DefinitionNotFound, WorkflowNotFound
from workflow_engine.records import Definition, LiveVersion, PinnableWorkflow, RecentEnds, Workflow

MOST_OFFERED = 100
"""Versions that are offered for a choice, the newest; an address may name any."""

_VERSIONS = 50  # of a page
_ELSEWHERE = 20
_MOST_TEXT = 200_000  # characters of a document that is turned into YAML while somebody waits
_MOST_TYPES = 30  # told of a graph
_MOST_NAMED = 200  # steps of one that is too large to be drawn

Live = Sequence[LiveVersion]
Ends = Mapping[tuple[str, int | None], RecentEnds]


@dataclass(frozen=True, slots=True)
class Tab:
    key: str
    title: str
    read: Callable[[Visit, Definition, Live, Ends], Awaitable[Mapping[str, Any]]]
    scope: Scope = Scope.DEFINITIONS_READ


async def _versions(visit: Visit, latest: Definition, live: Live, ends: Ends) -> Mapping[str, Any]:
    name, default = latest.name, latest.pinned_version or latest.latest_version
    before = _number(visit, "before")
    page = {} if before is None else {"before": before}
    found = await visit.store.definitions.registered(name, limit=_VERSIONS + 1, **page)
    elsewhere = await visit.store.definitions.live_elsewhere(name, default, limit=_ELSEWHERE + 1)
    on = {version.version: version for version in live}
    return {
        "versions": [
            (
                version,
                on.get(version.version),
                ends.get((name, version.version)),
                None if version.version == latest.pinned_version else _pin_definition(name, version.version),
            )
            for version in found[:_VERSIONS]
        ],
        "elsewhere": [(workflow, _pin(workflow, default)) for workflow in elsewhere[:_ELSEWHERE]],
        "and_more": len(elsewhere) > _ELSEWHERE,
        "newest": visit.here(before=None) if before is not None else None,
        "older": visit.here(before=found[_VERSIONS - 1].version) if len(found) > _VERSIONS else None,
    }


def _pin_definition(name: str, version: int) -> Action:
    return Action(
        "Pin",
        f"/workflows/{name}/pin",
        Scope.WORKFLOWS_CONTROL,
        "Pinned: new workflows use version {version}.",
        ask=f"New workflows will use version {version}, even when newer ones are registered, unless whoever starts them"
        " asks for another. Existing workflows keep their version.",
        query={"version": str(version)},
    )


def _pin(workflow: PinnableWorkflow, version: int) -> list[Action]:
    """What can be done so that it goes on with a version, and so that it does no longer."""
    path, control = f"/workflows/{workflow.id}/pin", Scope.WORKFLOWS_CONTROL
    when = (
        "It has not begun, and switches to that version at once."
        if workflow.status == "pending"
        else "It has begun: it keeps its version until it is retried, and then goes on with that version, keeping what"
        " succeeded."
    )
    found = []
    if version not in (workflow.version, workflow.pinned_version):
        found.append(
            Action(
                f"Pin to v{version}",
                path,
                control,
                "Pinned to version {pinned_version}.",
                ask=when,
                query={"version": str(version)},
            )
        )
    if workflow.pinned_version is not None:
        found.append(Action("Unpin", path, control, "Unpinned; it is on version {version}.", method="DELETE"))
    return found


async def _graph(visit: Visit, latest: Definition, live: Live, ends: Ends) -> Mapping[str, Any]:
    version, nodes = await visit.store.definitions.graph(latest.name, _number(visit, "version"))
    asked = visit.asked("step")

    def work_out() -> tuple[Picture, str]:
        picture = Dag(f"{latest.name} v{version}", nodes).picture()
        return picture, "" if len(picture.boxes) > MOST_DRAWN else draw_in_page(picture, link, asked)

    def link(box: Box) -> str:
        return visit.here(tab="graph", version=version, step=box.id)

    picture, drawing = work_out() if len(nodes) <= AT_ONCE else await visit.in_thread(work_out)
    is_large = len(picture.boxes) > MOST_DRAWN
    step = None
    if asked:
        found = await visit.store.definitions.get(latest.name, version)
        step = _step_at(found.document, _ids(asked))
    return {
        "drawing": Markup(drawing),  # noqa: S704 (all texts in it are escaped)
        "large": len(picture.boxes) if is_large else None,
        "names": [box.id for box in picture.boxes[:_MOST_NAMED]] if is_large else [],
        "types": Counter(box.type for box in picture.boxes).most_common(_MOST_TYPES),
        "step": asked if step is not None else None,
        "step_text": None if step is None else as_yaml(step),
        **_choice(latest, version),
    }


def _ids(path: str) -> list[str]:
    """Of a step and those around it. What is caught is below `catch`; a step may be called so, too."""
    parts = [part.partition("#")[0] for part in path.split(".")]
    return [part for n, part in enumerate(parts) if part != "catch" or n in (0, len(parts) - 1)]


def _step_at(part: Any, path: Sequence[str]) -> Mapping[str, Any] | None:
    """The step that is found by the ids of those around it and its own; None: it is written otherwise."""
    if isinstance(part, list):
        for each in part:
            if isinstance(each, Mapping) and each.get("id") == path[0]:
                return each if len(path) == 1 else _step_at(list(each.values()), path[1:])
    inner = part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ()
    return next((found for each in inner if (found := _step_at(each, path)) is not None), None)


async def _document(visit: Visit, latest: Definition, live: Live, ends: Ends) -> Mapping[str, Any]:
    version = _number(visit, "version") or latest.pinned_version or latest.latest_version
    found = await visit.store.definitions.get(latest.name, version)
    text = await visit.in_thread(lambda: json.dumps(in_order(found.document), indent=2, ensure_ascii=False))
    is_long = len(text) > _MOST_TEXT
    form = "json" if is_long or visit.asked("form") == "json" else "yaml"
    return {
        "shown": found,
        "form": form,
        "forms": [(each, visit.here(form=None if each == "yaml" else each)) for each in ("yaml", "json")],
        "too_long": is_long,
        "text": text if form == "json" else await visit.in_thread(lambda: as_yaml(found.document)),
        **_choice(latest, found.version),
    }


async def _diff(visit: Visit, latest: Definition, live: Live, ends: Ends) -> Mapping[str, Any]:
    definitions = visit.store.definitions
    new = await definitions.get(latest.name, _number(visit, "to"))
    old = await definitions.get(latest.name, _number(visit, "from") or max(new.version - 1, 1))
    is_long = max(len(json.dumps(each.document)) for each in (old, new)) > _MOST_TEXT
    parts = [] if is_long else await visit.in_thread(lambda: side_by_side(old.document, new.document))
    return {
        "old": old,
        "new": new,
        "too_long": is_long,
        "parts": [part for part in parts if part.change != "same"],
        "same": [part.step for part in parts if part.change == "same" and part.step],
        "counts": Counter(part.change for part in parts if part.step),
        "swapped": visit.here(**{"from": new.version, "to": old.version}),
        "offered": _offered(latest, old.version, new.version),
    }


async def _start(visit: Visit, latest: Definition, live: Live, ends: Ends) -> Mapping[str, Any]:
    like = await _like(visit, latest.name)
    asked = _number(visit, "version") or (like.version if like is not None else None)
    found = await visit.store.definitions.get(latest.name, asked or latest.pinned_version)
    schema = found.document.get("input_schema")
    given = {} if like is None else {"given": like.input}
    fits = True
    try:
        entries = entries_of(schema, **given)
    except Unfit:
        entries, fits = (), False
    return {
        "entries": entries,
        "schema": schema,
        "fits": fits,
        "like": like,
        "input": json.dumps({} if like is None else like.input, indent=2, ensure_ascii=False),
        "labels": "\n".join(f"{name}={value}" for name, value in like.labels.items()) if like is not None else "",
        "start": Action(
            "Start",
            "/workflows",
            Scope.WORKFLOWS_START,
            "It is started.",
            # Without a number it is what a start by name uses at that time.
            body={"name": latest.name, **({} if asked is None else {"version": asked})},
            goes_to="/admin/workflows/{id}",
        ).data(),
        **_choice(latest, found.version),
    }


async def _like(visit: Visit, name: str) -> Workflow | None:
    """The workflow whose input, labels and version are there at first; none that is of another definition."""
    if not visit.asked("like") or not visit.may(Scope.WORKFLOWS_READ):
        return None
    found = await visit.store.workflows.get(visit.asked("like"))
    if found.name != name:
        raise WorkflowNotFound(f"There is no workflow {clipped(visit.asked('like'))} of {name}.")
    return found


def _choice(latest: Definition, version: int) -> Mapping[str, Any]:
    return {"chosen": version, "offered": _offered(latest, version)}


def _offered(latest: Definition, *versions: int) -> list[int]:
    newest = range(latest.latest_version, max(0, latest.latest_version - MOST_OFFERED), -1)
    return sorted({*newest, *versions}, reverse=True)


def _number(visit: Visit, name: str) -> int | None:
    """The number of a version in the address.

    Raises:
        DefinitionNotFound: It is none.
    """
    text = visit.asked(name)
    if not text:
        return None
    number = natural(text, LARGEST_VERSION)
    if number is None:
        raise DefinitionNotFound(f"There is no version {clipped(text)}.", hint="A version is a number, 1 or more.")
    return number


TABS = (
    Tab("versions", "Versions", _versions),
    Tab("graph", "Graph", _graph),
    Tab("document", "Document", _document),
    Tab("diff", "What changed", _diff),
    Tab("start", "Start", _start, Scope.WORKFLOWS_START),
)
