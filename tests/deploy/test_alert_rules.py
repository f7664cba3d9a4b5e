"""The rules of deploy/prometheus: those of the runbook are its own, and what is wrong with any of them is found."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

_ROOT = Path(__file__).parents[2]
_CHECK = _ROOT / "bin" / "check-alerts"

# As the runbook has it, which is in one line.
OF_THE_RUNBOOK = """
groups: - name: workflow-engine rules:
- alert: WorkflowEngineDown expr: up{job="workflow-engine"} == 0 for: 2m labels: severity: critical
annotations: summary: "Workflow Engine is down"
runbook_url: "https://gitlab.com/blueflyio/agent-platform/technical-docs/-/wikis/runbooks/workflow-engine"
- alert: WorkflowWorkersDown expr: up{job="workflow-workers"} == 0 for: 2m labels: severity: critical
annotations: summary: "Workflow Workers are down"
- alert: HighQueueDepth expr: workflow_queue_depth > 100 for: 10m labels: severity: warning
annotations: summary: "Workflow queue depth high"
- alert: WorkflowStuck expr: workflow_pending_duration_seconds > 3600 for: 5m labels: severity: warning
annotations: summary: "Workflow stuck in pending state"
"""
# Alert, condition, who is told: the runbook's two tables.
TABLES = {
    "EngineDown": ("== 0", "2m", "critical"),
    "AllWorkersDown": ("== 0", "2m", "critical"),
    "WorkflowStuckCritical": ("> 3600", None, "critical"),
    "QueueBacklogCritical": ("> 1000", "2m", "critical"),
    "HighTaskLatency": ("> 300", "10m", "warning"),
    "WorkerRestarting": ("[10m]", None, "warning"),
    "QueueBacklog": ("> 100", "10m", "warning"),
    "WorkflowFailureRate": ("> 0.10", "5m", "warning"),
}


def check(*places: Path) -> subprocess.CompletedProcess[str]:
    """Run the check where none of its tools is installed."""
    command = [sys.executable, _CHECK, *places]
    return subprocess.run(command, env={"PATH": "/nowhere"}, capture_output=True, text=True, check=False)


def test_the_runbooks_own_group_is_there_word_for_word() -> None:
    text = (_ROOT / "deploy" / "prometheus" / "rules" / "runbook.yaml").read_text()
    words = re.sub(r"^#.*$", "", text, flags=re.MULTILINE).split()
    assert words == OF_THE_RUNBOOK.split()


def test_each_alert_of_the_runbooks_tables_has_its_condition_and_its_severity() -> None:
    groups = yaml.safe_load((_ROOT / "deploy" / "prometheus" / "rules" / "twins.yaml").read_text())["groups"]
    rules = {rule["alert"]: rule for group in groups for rule in group["rules"]}
    for name, (condition, wait, severity) in TABLES.items():
        rule = rules[name]
        assert condition in rule["expr"]
        assert (rule.get("for"), rule["labels"]["severity"]) == (wait, severity)


def test_what_pages_look_for_in_logs_is_what_the_code_logs() -> None:
    code = "".join(file.read_text() for file in (_ROOT / "src").rglob("*.py"))
    sought = {
        text
        for page in (_ROOT / "deploy" / "runbooks").glob("*.md")
        for line in page.read_text().splitlines()
        if "kubectl logs" in line
        for text in re.findall(r'"([^"{}]+)"', line.partition("grep ")[2].partition(" -E ")[0])
    }
    assert "scheduled start refused" in sought
    assert not {text for text in sought if text not in code}


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("rules/twins.yaml", "alert: QueueBacklog\n", "alert: Backlog\n", "Backlog has no page runbooks/Backlog.md"),
        ("rules/twins.yaml", "for: 10m", "for: 15m", "which is ('HighTaskLatency', '15m', 'warning')"),
        ("rules/parts.yaml", "alert: EngineSlow", "alert: EngineDown", "2 alerts are called EngineDown"),
        ("rules/parts.yaml", "local/d/workflow-engine", "local/d/x", "dashboard_url of WorkflowPostgresAway is none"),
        ("rules/parts.yaml", "severity: critical", "severity: page", "no route is for severity page"),
        ("rules/parts.yaml", "      summary:", "      title:", "WorkflowPostgresAway has no summary"),
        ("tests/parts.yaml", "alertname: EngineSlow", "alertname: EngineDown", "no test has EngineSlow firing"),
        ("alertmanager.yaml", "|WorkflowStuck|", "|Stuck|", "an inhibition names Stuck, which is no alert"),
        ("../runbooks/EngineDown.md", "## Mitigation", "## What to do", "EngineDown.md has no ## Mitigation"),
        ("../runbooks/EngineDown.md", "(../../docs/", "(../docs/", "links to ../docs/runbook.md, which is not there"),
    ],
)  # fmt: skip
def test_a_fault_in_rules_routes_or_pages_is_told(tmp_path: Path, file: str, old: str, new: str, told: str) -> None:
    shutil.copytree(_ROOT / "deploy", tmp_path / "deploy")
    shutil.copytree(_ROOT / "docs", tmp_path / "docs")
    changed = tmp_path / "deploy" / "prometheus" / file
    text = changed.read_text()
    assert old in text
    changed.write_text(text.replace(old, new))
    done = check(tmp_path / "deploy", tmp_path / "docs")
    assert done.returncode == 1
    assert told in done.stdout


def test_what_a_missing_tool_leaves_unchecked_is_told_and_is_no_fault() -> None:
    done = check(_ROOT / "deploy", _ROOT / "docs")
    assert done.returncode == 0, done.stdout
    unchecked = re.findall(r"^alerts: not checked: (.+) \(\w+ is not installed: .+\)$", done.stdout, re.MULTILINE)
    assert unchecked == ["the rules", "prometheus.yaml", "the tests of the rules", "alertmanager.yaml"]
