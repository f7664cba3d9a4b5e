"""A graph as SVG: states by colour, sign and word; light or dark as the reader's system is; no script."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from html import escape

from workflow_engine.definition.drawing.layout import Layout, Metrics, Point, lay_out
from workflow_engine.definition.drawing.picture import LOOKS, UNREACHED, Box, Picture
from workflow_engine.states import TaskStatus

MEDIA_TYPE = "image/svg+xml"
MAX_BOXES = 2_000

_METRICS = Metrics()
_WIDE, _NARROW = 8.6, 6.7  # width of a character of the name and of the line below it; rather too much
_TIP = 6.0  # length of an arrow's tip beyond its line
_LONGEST = 30  # characters of a line; the whole text is in the box's title
_NARROWEST = 108.0
_LONGEST_STATUS = max(len(status) for status in TaskStatus)
_KEPT_LAYOUTS = 64  # of some hundred boxes each; larger ones are made anew
_MOST_KEPT = 300

_STYLE = (
    "text{font:11px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#57606a}"
    ".name{font-size:13px;font-weight:600;fill:#1f2328}.sign{font-size:13px;font-weight:600}"
    ".page{fill:#fff}.edge{fill:none;stroke:#afb8c1;stroke-width:1.5}.critical{stroke:#57606a;stroke-width:2.5}"
    ".tip{fill:#afb8c1}.critical-tip{fill:#57606a}rect.box{stroke-width:1.5}"
)
_DARK_STYLE = (
    "text{fill:#8b949e}.name{fill:#e6edf3}.page{fill:#0d1117}.edge{stroke:#484f58}.critical{stroke:#8b949e}"
    ".tip{fill:#484f58}.critical-tip{fill:#8b949e}"
)


def draw_svg(picture: Picture) -> str:
    """The picture as one SVG document, with its own style.

    Raises:
        ValueError: It has more than `MAX_BOXES` boxes; nobody could read it.
    """
    kinds = sorted({box.kind for box in picture.boxes})
    style = (
        f"<style>{_STYLE}{_kinds(kinds, dark=False)}@media(prefers-color-scheme:dark){{{_DARK_STYLE}"
        f"{_kinds(kinds, dark=True)}}}</style>"
    )
    return _drawn(picture, style, lambda _: "")


def draw_in_page(picture: Picture, link: Callable[[Box], str], current: str | None = None) -> str:
    """The picture as a part of a page, whose style sheet says what its classes look like.

    Args:
        link: Where a box leads to.
        current: The name of the box that the page is about.

    Raises:
        ValueError: It has more than `MAX_BOXES` boxes.
    """

    def opening(box: Box) -> str:
        mark = ' aria-current="true"' if box.id == current else ""
        return f'<a href="{escape(link(box))}"{mark}>'

    return _drawn(picture, "", opening)


def _drawn(picture: Picture, style: str, opening: Callable[[Box], str]) -> str:
    if len(picture.boxes) > MAX_BOXES:
        raise ValueError(f"a drawing has at most {MAX_BOXES:,} steps, this would have {len(picture.boxes):,}")
    layout = _layout_of(picture)
    width, height = layout.size
    role = "img" if style else "group"  # what has links in it is no single picture
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
        f' viewBox="0 0 {width:.0f} {height:.0f}" role="{role}" aria-label="{escape(picture.title)}">',
        f"<title>{escape(picture.title)}</title>{style}",
        f"<defs>{_tip('tip')}{_tip('critical-tip')}</defs>",
        f'<rect class="page" width="{width:.0f}" height="{height:.0f}"/>',
        *_edges(picture, layout),
        *_boxes(picture, layout, opening),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _layout_of(picture: Picture) -> Layout:
    widths = [_width(box) for box in picture.boxes]
    if len(widths) > _MOST_KEPT:
        return lay_out(picture.dependencies, widths, _METRICS)
    return _kept_layout(tuple(map(tuple, picture.dependencies)), tuple(widths))


@lru_cache(maxsize=_KEPT_LAYOUTS)
def _kept_layout(dependencies: tuple[tuple[int, ...], ...], widths: tuple[float, ...]) -> Layout:
    """All workflows of a version have one, which is looked at again and again while they go on."""
    return lay_out(dependencies, widths, _METRICS)


def _width(box: Box) -> float:
    """Wide enough for each status that the step may come to: so boxes stay where they are."""
    below = box.subtitle if box.note else f"{box.type} · {'x' * _LONGEST_STATUS}"
    return max(_NARROWEST, 44 + _WIDE * len(_cut(box.id)), 24 + _NARROW * len(_cut(below)))


def _edges(picture: Picture, layout: Layout) -> list[str]:
    return [
        f'<path class="edge{" critical" if critical else ""}" d="{_curve(layout.paths[needed, step])}"'
        f' marker-end="url(#{"critical-tip" if critical else "tip"})"/>'
        for needed, step, critical in sorted(picture.edges(), key=lambda edge: edge[2])
    ]


def _curve(points: list[Point]) -> str:
    """Level where it leaves and enters; straight where it passes a column."""
    (x, y), *_ = points
    drawn = [f"M{x:.1f} {y:.1f}"]
    end_x, end_y = points[-1]
    for n, (to_x, to_y) in enumerate([*points[1:-1], (end_x - _TIP, end_y)]):
        crosses_gap = n % 2 == 0
        if crosses_gap and abs(to_y - y) > 0.05:
            bend = (to_x - x) / 2
            drawn.append(f"C{x + bend:.1f} {y:.1f} {to_x - bend:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}")
        else:
            drawn.append(f"H{to_x:.1f}")
        x, y = to_x, to_y
    return "".join(drawn)


def _boxes(picture: Picture, layout: Layout, opening: Callable[[Box], str]) -> list[str]:
    drawn = []
    for box, (x, y), width in zip(picture.boxes, layout.corners, layout.widths, strict=True):
        sign = LOOKS[box.kind].glyph
        indent = 30 if sign else 12
        opened = opening(box)
        drawn.append(
            f'{opened}<g class="{box.kind}"><title>{escape(box.id)}: {escape(box.subtitle)}</title>'
            f'<rect class="box" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_METRICS.height:.1f}" rx="6"/>'
            + (f'<text class="sign" x="{x + 12:.1f}" y="{y + 19:.1f}">{sign}</text>' if sign else "")
            + f'<text class="name" x="{x + indent:.1f}" y="{y + 19:.1f}">{escape(_cut(box.id))}</text>'
            f'<text x="{x + 12:.1f}" y="{y + 35:.1f}">{escape(_cut(box.subtitle))}</text></g>'
            + ("</a>" if opened else "")
        )
    return drawn


def _kinds(kinds: list[str], *, dark: bool) -> str:
    rules = []
    for kind in kinds:
        look = LOOKS[kind]
        fill, line = (look.dark_fill, look.dark_line) if dark else (look.fill, look.line)
        dashed = ";stroke-dasharray:4 3" if kind in ("blocked", "skipped", "cancelled", UNREACHED) and not dark else ""
        rules.append(f".{kind} .box{{fill:{fill};stroke:{line}{dashed}}}.{kind} .sign{{fill:{line}}}")
    return "".join(rules)


def _tip(name: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="1" refY="4" markerWidth="8" markerHeight="8"'
        f' markerUnits="userSpaceOnUse" orient="auto"><path class="{name}" d="M0 0L8 4L0 8z"/></marker>'
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
