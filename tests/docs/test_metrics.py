"""docs/metrics.md, rules and dashboards name the metrics of the code, and no others (see bin/check-metrics)."""

from __future__ import annotations

import shutil
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
RULES_FILE = "deploy/prometheus/rules/ours.yaml"
RULES = """
groups:
- name: ours
  rules:
  - record: workflow:queue_depth:max
    expr: max(workflow_queue_depth)
  - alert: Fine
    expr: >-
      workflow:queue_depth:max > 1
      and sum by (definition) (rate(workflow_workflows_ended_total{state="failed"}[5m])) > 0
  - alert: FineToo
    expr: sum(rate(workflow_task_duration_seconds_sum[5m])) by (type) / (sum(up{job="workflow-workers"}) > 0)
"""
DASHBOARD_FILE = "deploy/grafana/ours.json"
DASHBOARD = '{"panels": [{"targets": [{"expr": "max by (queue) (workflow_queue_tasks{queue=~\\"$queue\\"})"}]}]}'
PAGE = "docs/metrics.md"


@pytest.fixture(scope="session")
def script() -> ModuleType:
    loader = SourceFileLoader("check_metrics", str(ROOT / "bin" / "check-metrics"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[loader.name] = module  # its dataclass looks there
    loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The docs with rules and a dashboard that fit."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "README.md", tmp_path)
    for path, content in ((RULES_FILE, RULES), (DASHBOARD_FILE, DASHBOARD)):
        file = tmp_path / path
        file.parent.mkdir(parents=True)
        file.write_text(content)
    return tmp_path


def test_docs_rules_and_dashboards_name_the_metrics_of_the_code(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(ROOT) == 0, capsys.readouterr().out


def test_what_is_not_there_is_said_to_be_not_checked(
    script: ModuleType, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(tree / "deploy" / "grafana")
    assert script.main(tree) == 0
    assert "check-metrics: not checked: deploy/grafana, which is not there\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        (RULES_FILE, ("max(workflow_queue_depth)", "max(workflow_depth)"), "workflow_depth is not exported"),
        (RULES_FILE, ("workflow:queue_depth:max > 1", "workflow:depth:max > 1"), "workflow:depth:max is not exported"),
        (RULES_FILE, ("state=", "status="), "workflow_workflows_ended_total has no label status"),
        (RULES_FILE, ("by (type)", "by (kind)"), "nothing in it has the label kind"),
        (RULES_FILE, ("seconds_sum", "seconds"), "workflow_task_duration_seconds is not exported"),
        (DASHBOARD_FILE, ("workflow_queue_tasks", "workflow_runs"), "workflow_runs is not exported"),
        (PAGE, ("`workflow_locks_held` | gauge", "`workflow_locks_held` | counter"), "is documented as a counter"),
        (PAGE, ("`workflow_locks_held` |", "`workflow_locks` |"), "workflow_locks_held is exported and not documented"),
        (PAGE, ("`workflow_locks_held` | gauge | engine", "`workflow_locks_held` | gauge | both"), "a gauge of engine"),
        (PAGE, ("used, by `model` and", "used, and"), "workflow_llm_tokens_total is documented without its label"),
        (PAGE, ("sum by (le, queue)", "sum by (le, line)"), "nothing in it has the label line"),
        ("docs/api.md", ("# ", "# `workflow_runs_total` "), "workflow_runs_total is not exported"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(
    script: ModuleType, tree: Path, file: str, change: tuple[str, str], told: str
) -> None:
    known = script.exported()
    assert list(script.check_tree(tree, known)) == []
    text = (tree / file).read_text()
    assert change[0] in text
    (tree / file).write_text(text.replace(*change, 1))
    lines = list(script.check_tree(tree, known))
    assert any(line.startswith(f"{file}: ") and told in line for line in lines), lines
