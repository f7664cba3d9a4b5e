"""What is wrong with a dashboard, whoever made it. Whether its metrics are exported is for bin/check-metrics."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

from grafana_foundation_sdk.models import units

from deploy.grafana.assembly import all_panels

GRID = 24
APPLY_BYTES = 262_144
"""`kubectl apply` keeps what it applied in an annotation, which may be no larger."""

_UNITS = {value for value in vars(units).values() if isinstance(value, str)}
_SELECTOR = re.compile(r"([A-Za-z_]\w*)\{([^}]*)\}")
_WITHOUT_NAMESPACE = {"ALERTS"}


def faults(dashboard: dict[str, Any], shared: Collection[str]) -> Iterator[str]:
    """One line for each.

    Args:
        dashboard: As Grafana reads it.
        shared: Names of gauges that are the same on all engines.
    """
    yield from _layout(dashboard)
    yield from _choices(dashboard)
    titles = Counter((panel["type"], panel["title"]) for panel in panels(dashboard))
    yield from (f"{title}: two {kind} panels have this title" for (kind, title), n in titles.items() if n > 1)
    for panel in panels(dashboard):
        for fault in (*_words(panel), *_sources(panel), *_queries(panel, shared)):
            yield f"{panel['title']}: {fault}"
    if len(json.dumps(dashboard, indent=1)) > 0.9 * APPLY_BYTES:
        yield "it is too large for kubectl apply"


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All but the headings of rows."""
    return (panel for panel in all_panels(dashboard) if panel["type"] != "row")


def series(dashboard: dict[str, Any]) -> set[str]:
    """Names of all series that its panels ask for."""
    asked = (target["expr"] for panel in panels(dashboard) for target in panel["targets"])
    return {name for expression in asked for name, _ in _SELECTOR.findall(expression)}


def _layout(dashboard: dict[str, Any]) -> Iterator[str]:
    taken: set[tuple[int, int]] = set()
    for panel in all_panels(dashboard):
        place = panel["gridPos"]
        right, bottom = place["x"] + place["w"], place["y"] + place["h"]
        cells = {(x, y) for x in range(place["x"], right) for y in range(place["y"], bottom)}
        if cells & taken:
            yield f"{panel['title']}: covers what stands there"
        if right > GRID:
            yield f"{panel['title']}: stands over the edge"
        taken |= cells
    if len(taken) != GRID * (1 + max(y for _, y in taken)):
        yield "a row is not filled"
    if len({panel["id"] for panel in all_panels(dashboard)}) != len(list(all_panels(dashboard))):
        yield "two panels have the same id"


def _choices(dashboard: dict[str, Any]) -> Iterator[str]:
    offered = {variable["name"] for variable in dashboard["templating"]["list"]}
    named = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps({**dashboard, "templating": {}})))
    yield from (f"${name} is not offered" for name in sorted(named - offered))
    yield from (f"nothing asks for ${name}" for name in sorted(offered - named))


def _words(panel: dict[str, Any]) -> Iterator[str]:
    if not panel.get("description", "").endswith((".", ")")):
        yield "does not say what it tells"
    if panel["type"] == "table":
        properties = [each for rule in panel["fieldConfig"]["overrides"] for each in rule["properties"]]
        used = [each["value"] for each in properties if each["id"] == "unit"]
        if len(used) < len(panel["targets"]):
            yield "a column has no unit"
    else:
        used = [panel["fieldConfig"]["defaults"].get("unit", "")]
    yield from (f"Grafana knows no unit {unit!r}" for unit in used if unit not in _UNITS)


def _sources(panel: dict[str, Any]) -> Iterator[str]:
    if not panel["targets"]:
        yield "asks nothing"
    if len({target["refId"] for target in panel["targets"]}) != len(panel["targets"]):
        yield "two queries have the same refId"
    for asked in (panel, *panel["targets"]):
        if asked["datasource"]["uid"] != "${datasource}":
            yield "does not ask the chosen Prometheus"


def _queries(panel: dict[str, Any], shared: Collection[str]) -> Iterator[str]:
    for target in panel["targets"]:
        expression = target["expr"]
        if not _SELECTOR.search(expression):
            yield f"asks for no series: {expression}"
        for name, matchers in _SELECTOR.findall(expression):
            if name not in _WITHOUT_NAMESPACE and 'namespace=~"$namespace"' not in matchers:
                yield f"{name} is not narrowed to the namespace"
        bare = re.sub(r" by \([^)]*\)", "", expression)
        for name in shared:
            if len(re.findall(rf"\b{name}\{{", bare)) != len(re.findall(rf"\bmax ?\({name}\{{", bare)):
                yield f"{name} is the same on all engines: take it by max"
