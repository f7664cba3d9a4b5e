"""`workflow-engine validate` and `graph`: definitions in files, without an engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.processes import run_engine
from typer.testing import CliRunner

from workflow_engine.cli import app

FINE = """\
name: order
steps:
  - {id: fetch, type: http, url: "https://example.com"}
  - {id: process, type: agent, agent: processor, depends_on: [fetch]}
"""
WRONG: dict[str, Any] = {
    "name": "order",
    "steps": [{"id": "a", "type": "noop", "depends_on": ["b"]}, {"id": "c", "type": "thumbnail", "retrys": 1}],
}


@pytest.fixture
def fine(tmp_path: Path) -> Path:
    path = tmp_path / "fine.yaml"
    path.write_text(FINE)
    return path


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(WRONG))
    return path


def run(*arguments: object) -> tuple[int, str]:
    answer = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return answer.exit_code, answer.output


def test_what_is_wrong_is_told_with_file_and_place_and_exit_code_1(fine: Path, wrong: Path) -> None:
    answer = run_engine("validate", str(fine), str(wrong))

    assert answer.returncode == 1
    assert f"{fine}: order is fine, 2 steps" in answer.stdout
    assert f"{wrong}:/steps/0/depends_on/0: there is no step 'b'" in answer.stdout
    assert f"{wrong}:/steps/1/type: unknown step type 'thumbnail'" in answer.stdout
    assert "--type TYPE" in answer.stdout
    assert answer.stderr == ""


def test_files_that_are_fine_end_with_0(fine: Path) -> None:
    assert run("validate", fine) == (0, f"{fine}: order is fine, 2 steps\n")


def test_task_types_of_workers_are_named_or_included(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("flow.yml").write_text("name: flow\nsteps: [{id: a, type: thumbnail}]\n")
    Path("offline_handlers.py").write_text(
        "from workflow_engine import handler\n\n\n@handler('thumbnail')\ndef thumbnail(inputs, ctx):\n    return 1\n"
    )

    assert run("validate", "flow.yml")[0] == 1
    assert run("validate", "flow.yml", "--type", "thumbnail")[0] == 0
    assert run("validate", "flow.yml", "--include", "offline_handlers")[0] == 0


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("gone.yaml", None, "it cannot be read: No such file or directory"),
        ("broken.json", '{"name": ', "The file is not JSON"),
        ("twice.json", '{"name": "a", "name": "b"}', "has the key 'name' twice"),
        ("broken.yaml", "a: [1", "it is not YAML"),
        ("list.yaml", "- 1", "it must be an object"),
        ("bytes.yaml", "\xff", "it is not UTF-8"),
    ],
)
def test_a_file_that_holds_no_definition_is_told(name: str, text: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_bytes(text.encode("latin-1"))

    code, output = run("validate", path)

    assert code == 1
    assert output.startswith(f"{path}:/: ")
    assert said in output
    assert run("graph", path)[0] == 1


def test_a_graph_is_drawn_in_every_form(fine: Path) -> None:
    assert run("graph", fine) == (0, "order\n  fetch    http\n  process  agent  after fetch\n")
    for form, sign in (("mermaid", "s0 --> s1"), ("dot", "s0 -> s1"), ("svg", "<svg ")):
        code, drawn = run("graph", fine, "--format", form)
        assert code == 0
        assert sign in drawn


def test_a_wrong_file_or_format_is_not_drawn(fine: Path, wrong: Path) -> None:
    code, output = run("graph", wrong)
    assert (code, f"{wrong}:/steps/0/depends_on/0:" in output) == (1, True)
    assert run("graph", fine, "--format", "png")[0] == 2


def test_the_graph_of_a_name_asks_the_engine() -> None:
    answer = run_engine("graph", "order", "--server", "http://127.0.0.1:9")
    assert answer.returncode == 3
    assert "No answer from http://127.0.0.1:9" in answer.stderr
