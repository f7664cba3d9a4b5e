"""Graphs as SVG, Mermaid and DOT: whole, escaped, and never by colour alone."""

from __future__ import annotations

import shutil
import subprocess
from xml.etree import ElementTree

import pytest

from workflow_engine.definition.drawing.picture import LOOKS, UNREACHED, Box, Picture
from workflow_engine.definition.drawing.svg import MAX_BOXES, draw_svg
from workflow_engine.definition.drawing.text import dot, mermaid, outline
from workflow_engine.states import TaskStatus

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "\"]; <script>alert(1)</script> & \\ #quot; '--> end"
PIPELINE = Picture(
    "data-pipeline@1",
    [
        Box("fetch", "http", TaskStatus.SUCCEEDED),
        Box("process", "agent", TaskStatus.RUNNING),
        Box("store", "database", TaskStatus.BLOCKED, "waits for lock:crm"),
    ],
    [[], [0], [0, 1]],
    critical=[0, 1, 2],
)
ALL_STATES = Picture("states", [Box(f"s-{status}", "noop", status) for status in TaskStatus], [[]] * len(TaskStatus))


def test_every_state_has_a_look_with_a_sign_of_its_own() -> None:
    assert set(LOOKS) == {"step", UNREACHED, *TaskStatus}
    signs = [LOOKS[kind].glyph for kind in (UNREACHED, *TaskStatus)]
    assert len(set(signs)) == len(signs)
    assert all(signs)


def test_the_svg_says_every_step_type_and_state_in_words_and_signs() -> None:
    root = ElementTree.fromstring(draw_svg(ALL_STATES))

    texts = [text.text for text in root.iter(f"{SVG}text")]
    for status in TaskStatus:
        assert f"s-{status}" in texts
        assert f"noop · {status}" in texts
        assert LOOKS[status].glyph in texts
    assert root.get("aria-label") == "states"
    assert [title.text for title in root.iter(f"{SVG}title")][1] == "s-blocked: noop · blocked"
    style = next(root.iter(f"{SVG}style")).text or ""
    assert "prefers-color-scheme:dark" in style


def test_what_did_not_run_because_of_another_does_not_look_as_if_it_had_failed_itself() -> None:
    boxes = [Box("a", "noop", TaskStatus.FAILED), Box("b", "noop", TaskStatus.FAILED, unreached=True)]
    picture = Picture("two", boxes, [[], [0]])
    for drawn in (draw_svg(picture), mermaid(picture), dot(picture), outline(picture)):
        assert ("✗" in drawn, "⇥" in drawn, "noop · not run" in drawn) == (True, True, True)
    groups = [group.get("class") for group in ElementTree.fromstring(draw_svg(picture)).iter(f"{SVG}g")]
    assert groups == ["failed", "unreached"]


def test_the_svg_has_an_edge_for_each_dependency_and_marks_the_critical_path() -> None:
    root = ElementTree.fromstring(draw_svg(PIPELINE))

    edges = [path.get("class") for path in root.iter(f"{SVG}path") if "edge" in (path.get("class") or "")]
    assert sorted(filter(None, edges)) == ["edge", "edge critical", "edge critical"]
    assert "database · waits for lock:crm" in [text.text for text in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("hostile", [HOSTILE, "]]>", "&amp;", "日本語" * 20])
def test_hostile_texts_stay_texts(hostile: str) -> None:
    picture = Picture(hostile, [Box(hostile, hostile, TaskStatus.FAILED, hostile), Box("b", "noop")], [[], [0]])

    root = ElementTree.fromstring(draw_svg(picture))
    assert not list(root.iter(f"{SVG}script"))
    assert (next(root.iter(f"{SVG}title")).text, len(list(root.iter(f"{SVG}g")))) == (hostile, 2)

    for line in mermaid(picture).splitlines()[4:]:
        assert "<script" not in line
        assert line.count('"') in (0, 2)
    assert "s0 -> s1;" in dot(picture)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_reads_the_dot_file() -> None:
    picture = Picture(HOSTILE, [Box(HOSTILE, "noop", TaskStatus.FAILED), Box("b", "noop")], [[], [0]])
    subprocess.run(["dot", "-Tsvg"], input=dot(picture).encode(), check=True, stdout=subprocess.DEVNULL)


def test_mermaid_has_nodes_edges_and_classes() -> None:
    assert mermaid(PIPELINE) == (
        '---\ntitle: "data-pipeline@1"\n---\nflowchart LR\n'
        '    s0["✓ fetch<br/>http · succeeded"]:::succeeded\n'
        '    s1["▶ process<br/>agent · running"]:::running\n'
        '    s2["◌ store<br/>database · waits for lock:crm"]:::blocked\n'
        "    s0 ==> s1\n    s0 --> s2\n    s1 ==> s2\n"
        "    classDef blocked fill:#f6f8fa,stroke:#8c959f,color:#1f2328\n"
        "    classDef running fill:#ddf4ff,stroke:#0969da,color:#1f2328\n"
        "    classDef succeeded fill:#dafbe1,stroke:#1a7f37,color:#1f2328\n"
    )


def test_a_definition_is_drawn_without_states() -> None:
    picture = Picture("p@1", [Box("fetch", "http")], [[]])
    assert 's0["fetch<br/>http"]:::step' in mermaid(picture)
    assert ">http</text>" in draw_svg(picture)


def test_a_drawing_that_nobody_could_read_is_refused() -> None:
    many = Picture("many", [Box(f"s{n}", "noop") for n in range(MAX_BOXES + 1)], [[]] * (MAX_BOXES + 1))
    with pytest.raises(ValueError, match="at most 2,000 steps"):
        draw_svg(many)
    assert mermaid(many).count("\n") > MAX_BOXES
