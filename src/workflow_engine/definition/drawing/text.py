"""A graph as text: for a terminal, and for tools that draw, Mermaid and Graphviz."""

from __future__ import annotations

import re

from workflow_engine.definition.drawing.picture import LOOKS, Picture

MERMAID_MEDIA_TYPE = "text/vnd.mermaid"
DOT_MEDIA_TYPE = "text/vnd.graphviz"

_NOT_PLAIN = re.compile(r"[^\w .,:/·…✓✗○◌▶◷↷⊘⇥-]")


def outline(picture: Picture) -> str:
    """A line for each step, for a terminal: its name, its type or state, and what it waits for."""
    names = [f"{LOOKS[box.kind].glyph} {box.id}".strip() for box in picture.boxes]
    wide, kinds = max(map(len, names), default=0), max((len(box.subtitle) for box in picture.boxes), default=0)
    lines = [picture.title]
    for name, box, needed in zip(names, picture.boxes, picture.dependencies, strict=True):
        after = f"  after {', '.join(picture.boxes[n].id for n in needed)}" if needed else ""
        lines.append(f"  {name:{wide}}  {box.subtitle:{kinds}}{after}".rstrip())
    return "\n".join(lines) + "\n"


def mermaid(picture: Picture) -> str:
    """A flowchart; states by class, sign and word."""
    lines = ["---", f"title: {_quoted(picture.title)}", "---", "flowchart LR"]
    for n, box in enumerate(picture.boxes):
        name = f"{LOOKS[box.kind].glyph} {box.id}".strip()
        lines.append(f'    s{n}["{_entities(name)}<br/>{_entities(box.subtitle)}"]:::{box.kind}')
    lines += [f"    s{needed} {'==>' if critical else '-->'} s{step}" for needed, step, critical in picture.edges()]
    for kind in sorted({box.kind for box in picture.boxes}):
        look = LOOKS[kind]
        lines.append(f"    classDef {kind} fill:{look.fill},stroke:{look.line},color:#1f2328")
    return "\n".join(lines) + "\n"


def dot(picture: Picture) -> str:
    """A digraph for `dot`; states by colour, sign and word."""
    lines = [
        f"digraph {_quoted(picture.title)} {{",
        "    rankdir=LR;",
        '    node [shape=box, style="rounded,filled", fontname="sans-serif", fontsize=11];',
    ]
    for n, box in enumerate(picture.boxes):
        look = LOOKS[box.kind]
        name = f"{look.glyph} {box.id}".strip()
        label = f"{_escaped(name)}\\n{_escaped(box.subtitle)}"
        lines.append(f'    s{n} [label="{label}", class="{box.kind}", fillcolor="{look.fill}", color="{look.line}"];')
    for needed, step, critical in picture.edges():
        lines.append(f"    s{needed} -> s{step}{' [penwidth=2.5]' if critical else ''};")
    return "\n".join([*lines, "}"]) + "\n"


def _entities(text: str) -> str:
    """What could be syntax becomes an entity in Mermaid's own form."""
    return _NOT_PLAIN.sub(lambda match: f"#{ord(match[0])};", text)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'
