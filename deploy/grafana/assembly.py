"""A dashboard out of rows of panels: where each stands, what one can choose, what links to where."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

from deploy.grafana.panels import SOURCE, Panel
from deploy.grafana.promql import scoped

ENGINE_URL = "${engine}"
"""Where pages of the engine's own dashboard are."""

RUNBOOK_URL = "https://gitlab.com/blueflyio/agent-platform/technical-docs/-/wikis/runbooks/workflow-engine"


@dataclass(frozen=True)
class Row:
    """A heading and what stands under it; one that is closed asks nothing until it is opened."""

    title: str
    panels: Sequence[Panel]
    closed: bool = False


@dataclass(frozen=True)
class Choice:
    """A label by whose values one may narrow the dashboard; all of them until then."""

    name: str
    label: str
    values_of: str
    """A selector of series that have the label."""

    def build(self) -> build.QueryVariable:
        query = f"label_values({scoped(self.values_of) if self.name != 'namespace' else self.values_of}, {self.name})"
        return (
            build.QueryVariable(self.name)
            .label(self.label)
            .datasource(SOURCE)
            .query({"query": query, "refId": f"Choice-{self.name}"})
            .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
            .include_all(True)
            .all_value(".*")
            .multi(True)
            .current(dashboard.VariableOption(selected=True, text="All", value="$__all"))
        )


@dataclass(frozen=True)
class Mark:
    """Moments or spans of time that are marked on every chart."""

    name: str
    expression: str
    title: str
    colour: str
    is_moment: bool = False
    """Whether the value of the series is the moment, in milliseconds."""
    shown: bool = True
    """Until one chooses otherwise."""

    @property
    def as_json(self) -> dict[str, object]:
        """The SDK does not know what Prometheus' annotations have; newer Grafanas read `target`, older ones `expr`."""
        expression, step = scoped(self.expression), "30s"
        return {
            "name": self.name,
            "datasource": SOURCE.to_json(),
            "enable": self.shown,
            "iconColor": self.colour,
            "expr": expression,
            "step": step,
            "target": {"refId": "Anno", "expr": expression, "interval": step},
            "titleFormat": self.title,
            "tagKeys": "instance",
            "useValueForTime": self.is_moment,
        }


NAMESPACE = Choice("namespace", "Namespace", 'up{job=~"workflow-engine|workflow-workers"}')

MARKS = (
    Mark("Engine starts", 'process_start_time_seconds{job="workflow-engine"} * 1000', "Engine started", "blue", True),
    Mark(
        "Worker starts",
        'process_start_time_seconds{job="workflow-workers"} * 1000',
        "Worker started",
        "purple",
        True,
        False,
    ),
    Mark("Paused", "max(workflow_engine_paused) == 1", "Paused: nothing new is accepted and started", "orange"),
)


def assemble(
    uid: str,
    title: str,
    tells: str,
    rows: Sequence[Row],
    *,
    choices: Sequence[Choice],
    engine_url: str,
    other: tuple[str, str],
) -> dict[str, Any]:
    """The whole dashboard, as Grafana reads it.

    Args:
        choices: Besides the namespace.
        engine_url: Where the engine's own pages are for who looks at the dashboard.
        other: Title and uid of the dashboard beside this one.
    """
    made = build.Dashboard(title).uid(uid).description(tells).tags(["workflow-engine"]).timezone("browser")
    made.time("now-3h", "now").refresh("30s").tooltip(dashboard.DashboardCursorSync.CROSSHAIR).editable()
    made.with_variable(build.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    for choice in (NAMESPACE, *choices):
        made.with_variable(choice.build())
    made.with_variable(
        build.TextBoxVariable("engine")
        .label("Engine")
        .description("Base URL of the engine, for links to its own pages")
        .default_value(engine_url)
        .current(dashboard.VariableOption(text=engine_url, value=engine_url))
    )
    for name, url in (
        (other[0], f"/d/{other[1]}"),
        ("The engine's own pages", f"{ENGINE_URL}/admin"),
        ("Runbook", RUNBOOK_URL),
    ):
        link = build.DashboardLink(name).type(dashboard.DashboardLinkType.LINK).url(url).icon("external link")
        made.link(link.target_blank(True) if "//" in url or "$" in url else link.include_vars(True).keep_time(True))
    for row in rows:
        heading = build.Row(row.title).collapsed(row.closed)
        if row.closed:  # in the file its panels are in it, those of an open row behind it
            for each in row.panels:
                heading.with_panel(each)
        made.with_row(heading)
        if not row.closed:
            for each in row.panels:
                made.with_panel(each)
    content: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(made.build()))
    content["annotations"] = {"list": [mark.as_json for mark in MARKS]}
    for variable in content["templating"]["list"]:
        for name in ("id", "auto", "auto_count", "auto_min"):  # of the SDK; Grafana has them for intervals only
            variable.pop(name, None)
    for number, panel in enumerate(all_panels(content), start=1):
        panel["id"] = number
        panel.pop("repeatDirection", None)
        for letter, target in zip(ascii_uppercase, panel.get("targets", ()), strict=False):
            target["refId"] = target.get("refId") or letter
    return content


def all_panels(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows and panels of a dashboard, from top to bottom."""
    for panel in content["panels"]:
        yield panel
        yield from panel.get("panels", ())
