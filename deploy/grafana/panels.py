"""Panels in few words: a title, what it tells, its queries in plain PromQL, a unit.

Each selector is narrowed to the dashboard's namespace when a panel is made, so that queries read as in docs/metrics.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

from grafana_foundation_sdk.builders import common, heatmap, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard, units
from grafana_foundation_sdk.models import heatmap as heat
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

from deploy.grafana.promql import quantile, scoped

Panel = Builder[dashboard.Panel]

SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")

COUNT = units.Short
PER_MINUTE = units.CountsPerMinute
PER_SECOND = units.RequestsPerSecond
SECONDS = units.Seconds
BYTES = units.BytesIEC
SHARE = units.PercentUnit
MOMENT = units.DateTimeFromNow

GOOD, WARN, BAD, CALM, FAINT = "green", "orange", "red", "blue", "#8e8e8e"
COLOURS = {
    "succeeded": GOOD,
    "failed": BAD,
    "cancelled": FAINT,
    "pending": WARN,
    "running": CALM,
    "scheduled": "purple",
    "held": "yellow",
    "waiting": "light-purple",
    "retried": "yellow",
    "lost": "dark-red",
    "released": "light-blue",
    "skipped": "#c8c8c8",
    "ok": GOOD,
    "conflict": "yellow",
    "away": WARN,
    "error": BAD,
}
"""Of states and results, wherever they are series: the same on all panels."""


@dataclass(frozen=True)
class Query:
    """One query of a panel: PromQL, and the name of its series (labels in {{}})."""

    expression: str
    legend: str = ""

    def over_time(self, kind: PromQueryFormat = PromQueryFormat.TIME_SERIES) -> prometheus.Dataquery:
        return self._target().format(kind).range()

    def now(self, kind: PromQueryFormat = PromQueryFormat.TIME_SERIES) -> prometheus.Dataquery:
        return self._target().format(kind).instant()

    def _target(self) -> prometheus.Dataquery:
        target = prometheus.Dataquery().datasource(SOURCE).expr(scoped(self.expression))
        return target.legend_format(self.legend).editor_mode(QueryEditorMode.CODE)


def quantiles(histogram: str, matchers: str = "", *, of: Sequence[int] = (50, 95, 99)) -> list[Query]:
    """Quantiles of a histogram, over all series that match."""
    return [Query(quantile(percent, histogram, matchers), f"p{percent}") for percent in of]


@dataclass(frozen=True)
class Line:
    """A number from which a panel changes its colour; in charts a line."""

    value: float
    colour: str = BAD


@dataclass(frozen=True)
class Link:
    """From a panel to where one looks next."""

    title: str
    url: str

    def build(self) -> build.DashboardLink:
        return build.DashboardLink(self.title).type(dashboard.DashboardLinkType.LINK).url(self.url).target_blank(True)


class _Panel(Protocol):
    """What the builders of all kinds of panels have in common."""

    def title(self, title: str) -> Self: ...
    def description(self, description: str) -> Self: ...
    def datasource(self, datasource: dashboard.DataSourceRef) -> Self: ...
    def height(self, h: int) -> Self: ...
    def span(self, w: int) -> Self: ...
    def links(self, links: list[Builder[dashboard.DashboardLink]]) -> Self: ...


P = TypeVar("P", bound=_Panel)


def _placed(panel: P, title: str, tells: str, size: tuple[int, int], links: Sequence[Link]) -> P:
    panel.title(title).description(tells).datasource(SOURCE).span(size[0]).height(size[1])
    if links:
        panel.links([link.build() for link in links])
    return panel


def number(
    title: str,
    tells: str,
    query: str,
    *,
    unit: str = COUNT,
    lines: Sequence[Line] = (),
    texts: Mapping[int, tuple[str, str]] | None = None,
    decimals: int | None = None,
    links: Sequence[Link] = (),
    width: int = 3,
    now: bool = False,
) -> stat.Panel:
    """One number, coloured by lines, or a text and a colour for each value; behind it how it was over time.

    With `now` it is asked for once: what is already about the time range.
    """
    panel = _placed(stat.Panel(), title, tells, (width, 4), links).unit(unit)
    panel.with_target(Query(query).now() if now else Query(query).over_time())
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.graph_mode(kinds.BigValueGraphMode.NONE if now or texts else kinds.BigValueGraphMode.AREA)
    panel.color_mode(kinds.BigValueColorMode.VALUE).thresholds(_thresholds(lines, CALM if not lines else GOOD))
    panel.no_value("no data")
    if decimals is not None:
        panel.decimals(decimals)
    if texts:
        panel.mappings([_texts(texts)])
    return panel


def chart(
    title: str,
    tells: str,
    queries: Sequence[Query],
    *,
    unit: str = COUNT,
    lines: Sequence[Line] = (),
    stacked: bool = False,
    share: bool = False,
    calcs: Sequence[str] = ("lastNotNull", "max"),
    links: Sequence[Link] = (),
    width: int = 8,
    height: int = 8,
) -> timeseries.Panel:
    """Series over time. `share`: the axis ends at 100 %."""
    panel = _placed(timeseries.Panel(), title, tells, (width, height), links).unit(unit).min(0)
    for query in queries:
        panel.with_target(query.over_time())
    panel.line_width(1).fill_opacity(60 if stacked else 8).show_points(kinds.VisibilityMode.AUTO)
    panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(kinds.LegendDisplayMode.LIST)
        .placement(kinds.LegendPlacement.BOTTOM)
        .calcs(list(calcs))
    )
    panel.tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING))
    if stacked:
        panel.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL))
    if share:
        panel.max(1)
    panel.thresholds(_thresholds(lines, "transparent"))
    if lines:
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(kinds.GraphTresholdsStyleMode.DASHED))
        if unit != SECONDS:  # an hour is so far above what is usual that nobody would see that any more
            panel.axis_soft_max(min(line.value for line in lines) * 1.1)
    if any("{{status}}" in query.legend for query in queries):
        for first, colour in (("2", GOOD), ("3", CALM), ("4", "yellow"), ("5", BAD)):
            panel.override_by_regexp(f"^{first}", [_property("color", {"mode": "shades", "fixedColor": colour})])
    if any(label in query.legend for query in queries for label in ("{{state}}", "{{result}}")):
        for state, colour in COLOURS.items():
            panel.override_by_name(state, [_property("color", {"mode": "fixed", "fixedColor": colour})])
    return panel


def spread(title: str, tells: str, histogram: str, matchers: str, *, width: int = 12) -> heatmap.Panel:
    """A histogram over time: the darker, the more."""
    query = f"sum by (le) (increase({histogram}_bucket{{{matchers}}}[$__rate_interval]))"
    panel = _placed(heatmap.Panel(), title, tells, (width, 8), ())
    panel.with_target(Query(query, "{{le}}").over_time(PromQueryFormat.HEATMAP))
    panel.calculate(False).y_axis(heatmap.YAxisConfig().unit(SECONDS)).cell_gap(1).show_legend()
    panel.color(
        heatmap.HeatmapColorOptions()
        .mode(heat.HeatmapColorMode.SCHEME)
        .scheme("Oranges")
        .scale(heat.HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)
        .steps(64)
    )
    return panel.filter_values(heatmap.FilterValueRange().le(1e-9)).unit(units.Short)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its head.
        query: PromQL of its value in each row.
        lines: The numbers from which a cell is coloured.
        texts: A text and a colour for each value.
    """

    title: str
    query: str
    unit: str = COUNT
    decimals: int | None = None
    lines: Sequence[Line] = ()
    texts: Mapping[int, tuple[str, str]] | None = None

    @property
    def properties(self) -> list[dashboard.DynamicConfigValue]:
        properties = [_property("unit", self.unit)]
        if self.decimals is not None:
            properties.append(_property("decimals", self.decimals))
        if self.lines:
            steps = [{"value": None, "color": "text"}, *({"value": x.value, "color": x.colour} for x in self.lines)]
            properties.append(_property("thresholds", {"mode": "absolute", "steps": steps}))
            properties.append(_property("custom.cellOptions", {"type": "color-text"}))
        if self.texts:
            properties.append(_property("mappings", [_texts(self.texts).to_json()]))
            properties.append(_property("custom.cellOptions", {"type": "color-text"}))
        return properties


def listing(
    title: str,
    tells: str,
    keys: Mapping[str, str],
    columns: Sequence[Column],
    *,
    sort: str,
    any_of: Sequence[str] = (),
    links: Sequence[Link] = (),
    row_links: Sequence[Link] = (),
    width: int = 24,
    height: int = 8,
) -> table.Panel:
    """A table of what is true now, or was over the time range.

    Args:
        keys: The labels that make a row, and the heads of their columns.
        sort: Head of the column that is largest first.
        any_of: Heads of columns; a row where none of these is above zero is left out.
        row_links: From the first key of a row.
    """
    panel = _placed(table.Panel(), title, tells, (width, height), links)
    renamed = dict(keys)
    for letter, column in zip("ABCDEFGHIJ", columns, strict=False):
        panel.with_target(Query(column.query).now(PromQueryFormat.TABLE).ref_id(letter))
        renamed[f"Value #{letter}"] = column.title
        panel.override_by_name(column.title, column.properties)
    panel.with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(
        dashboard.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {"Time": True},
                "indexByName": {name: place for place, name in enumerate(renamed)},
                "renameByName": renamed,
            },
        )
    )
    if any_of:
        above_zero = {"id": "greater", "options": {"value": 0}}
        filters = [{"fieldName": head, "config": above_zero} for head in any_of]
        options = {"filters": filters, "type": "include", "match": "any"}
        panel.with_transformation(dashboard.DataTransformerConfig(id_val="filterByValue", options=options))
    if row_links:
        first = next(iter(keys.values()))
        targets = [{"title": link.title, "url": link.url, "targetBlank": True} for link in row_links]
        panel.override_by_name(first, [_property("links", targets)])
    return panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(True)])


def timeline(
    title: str,
    tells: str,
    queries: Sequence[Query],
    texts: Mapping[int, tuple[str, str]],
    *,
    nothing: str,
    links: Sequence[Link] = (),
    series_links: Sequence[Link] = (),
    width: int = 24,
    height: int = 5,
) -> statetimeline.Panel:
    """Coloured bars over time, one for each series. `nothing` is said where there is none."""
    panel = _placed(statetimeline.Panel(), title, tells, (width, height), links)
    for query in queries:
        panel.with_target(query.over_time())
    panel.mappings([_texts(texts)]).no_value(nothing).thresholds(_thresholds((), FAINT)).unit(units.NoUnit)
    if series_links:
        panel.data_links([link.build() for link in series_links])
    panel.show_value(kinds.VisibilityMode.NEVER).row_height(0.8).line_width(0).fill_opacity(80).merge_values(True)
    return panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(kinds.LegendDisplayMode.LIST)
        .placement(kinds.LegendPlacement.BOTTOM)
        .calcs([])
    )


def _thresholds(lines: Sequence[Line], base: str) -> build.ThresholdsConfig:
    steps = [dashboard.Threshold(value=None, color=base)]
    steps += [dashboard.Threshold(value=line.value, color=line.colour) for line in lines]
    return build.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)


def _texts(texts: Mapping[int, tuple[str, str]]) -> dashboard.ValueMap:
    return dashboard.ValueMap(
        options={
            str(value): dashboard.ValueMappingResult(text=text, color=colour, index=index)
            for index, (value, (text, colour)) in enumerate(texts.items())
        }
    )


def _property(name: str, value: Any) -> dashboard.DynamicConfigValue:
    return dashboard.DynamicConfigValue(id_val=name, value=value)
