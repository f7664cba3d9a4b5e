"""The Grafana dashboards are what deploy/grafana makes, complete, and fit to the rest of deploy/; faults are found."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana import alerts, limits, lint
from deploy.grafana.__main__ import FOLDER, dashboards, faults
from deploy.grafana.lint import panels

ROOT = Path(__file__).parents[2]
DASHBOARDS = dashboards()
SHARED = ["workflow_queue_depth"]

Dashboard = dict[str, Any]


def test_the_dashboards_have_no_fault() -> None:
    assert list(faults()) == []


def test_their_addresses_are_those_of_the_runbook() -> None:
    assert set(DASHBOARDS) == {"workflow-engine", "workflow-queue"}
    assert {file.stem for file in FOLDER.iterdir()} == set(DASHBOARDS)
    assert all(dashboard["uid"] == uid for uid, dashboard in DASHBOARDS.items())


def _first(dashboard: Dashboard) -> Dashboard:
    return next(panels(dashboard))


FAULTS: dict[str, tuple[Callable[[Dashboard], Any], str]] = {
    "over another": (lambda d: d["panels"][2]["gridPos"].update(x=0), "covers what stands there"),
    "over the edge": (lambda d: d["panels"][8]["gridPos"].update(w=4), "stands over the edge"),
    "a hole": (lambda d: d["panels"].pop(3), "a row is not filled"),
    "an id twice": (lambda d: d["panels"][3].update(id=1), "two panels have the same id"),
    "no description": (lambda d: _first(d).update(description=""), "does not say what it tells"),
    "no unit": (lambda d: _first(d)["fieldConfig"]["defaults"].pop("unit"), "knows no unit"),
    "a wrong unit": (lambda d: _first(d)["fieldConfig"]["defaults"].update(unit="secs"), "knows no unit 'secs'"),
    "no query": (lambda d: _first(d).update(targets=[]), "asks nothing"),
    "another source": (
        lambda d: _first(d)["targets"][0].update(datasource={"uid": "mine"}),
        "does not ask the chosen Prometheus",
    ),
    "all namespaces": (lambda d: _first(d)["targets"][0].update(expr="max(up{})"), "up is not narrowed"),
    "a gauge added up": (
        lambda d: _first(d)["targets"][0].update(expr='sum(workflow_queue_depth{namespace=~"$namespace"})'),
        "take it by max",
    ),
    "an unknown choice": (lambda d: _first(d).update(description="$cluster."), "$cluster is not offered"),
    "an idle choice": (lambda d: d["templating"]["list"].append({"name": "idle"}), "nothing asks for $idle"),
    "a title twice": (lambda d: d["panels"][2].update(title=d["panels"][1]["title"]), "panels have this title"),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_fault_is_found(fault: str) -> None:
    dashboard = copy.deepcopy(DASHBOARDS["workflow-queue"])
    spoil, told = FAULTS[fault]
    spoil(dashboard)
    assert any(told in line for line in lint.faults(dashboard, SHARED)), list(lint.faults(dashboard, SHARED))


def test_checking_tells_of_a_file_that_was_edited(tmp_path: Path) -> None:
    for file in FOLDER.iterdir():
        (tmp_path / file.name).write_text(file.read_text())
    edited = tmp_path / "workflow-queue.json"
    edited.write_text(edited.read_text().replace("Pending tasks", "Tasks"))
    command = [sys.executable, "-m", "deploy.grafana", "--check", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == "dashboards: workflow-queue.json is not what the code makes: run make dashboards\n"


def test_lines_are_at_the_numbers_of_the_runbook() -> None:
    expected = {
        ("workflow-engine", "Failed in an hour"): [limits.FAILED_SHARE],
        ("workflow-engine", "Oldest pending workflow"): [limits.PENDING_WORKFLOW_SECONDS],
        ("workflow-engine", "Active workflows per engine"): [limits.ACTIVE_WORKFLOWS_PER_ENGINE],
        ("workflow-engine", "Oldest transaction"): [limits.TRANSACTION_SECONDS],
        ("workflow-engine", "Oldest undelivered"): [limits.UNDELIVERED_SECONDS],
        ("workflow-engine", "Delay of the event loop"): [limits.ENGINE_LAG_SECONDS],
        ("workflow-queue", "Delay of the event loop"): [limits.WORKER_LAG_SECONDS],
        ("workflow-queue", "Pending tasks"): [limits.PENDING_TASKS, limits.PENDING_TASKS_CRITICAL],
        ("workflow-queue", "Claimed and ended"): [limits.ENDED_PER_MINUTE],
        ("workflow-queue", "Average time of attempts"): [limits.TASK_SECONDS],
        ("workflow-queue", "Worker CPU"): [limits.CPU_SHARE],
    }
    for (uid, title), lines in expected.items():
        for panel in (panel for panel in panels(DASHBOARDS[uid]) if panel["title"] == title):
            steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
            assert [step["value"] for step in steps[1:]] == lines, title
            if panel["type"] == "timeseries":
                assert panel["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "dashed"


def test_their_numbers_are_those_of_the_alerts() -> None:
    rules = {
        rule["alert"]: " ".join(rule["expr"].split())
        for file in (ROOT / "deploy/prometheus/rules").glob("*.yaml")
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    for alert, bound in {
        "QueueBacklog": f"> {limits.PENDING_TASKS}",
        "QueueBacklogCritical": f"> {limits.PENDING_TASKS_CRITICAL}",
        "WorkflowStuckCritical": f"> {limits.PENDING_WORKFLOW_SECONDS}",
        "HighTaskLatency": f"> {limits.TASK_SECONDS}",
        "WorkflowFailureRate": f"> {limits.FAILED_SHARE:.2f}",
        "TaskThroughputLow": f"< {limits.ENDED_PER_MINUTE}",
        "EngineSlow": f"> {limits.ENGINE_LAG_SECONDS}",
        "WorkerLoopBlocked": f"> {limits.WORKER_LAG_SECONDS}",
        "WorkflowTransactionHeldOpen": f"> {limits.TRANSACTION_SECONDS}",
        "WorkflowDeliveriesFailing": f"> {limits.UNDELIVERED_SECONDS}",
        "EngineOverloaded": f"> {limits.ACTIVE_WORKFLOWS_PER_ENGINE}",
    }.items():
        assert re.search(rf"{re.escape(bound)}( |$)", rules[alert]), f"{alert}: {rules[alert]}"
    for uid in DASHBOARDS:
        for panel in panels(DASHBOARDS[uid]):
            named = set(re.findall(r"\b(?:alert|of|and) ([A-Z][a-z]+(?:[A-Z][a-z]+)+)\b", panel["description"]))
            assert named <= set(rules), f"{panel['title']}: no such alert"
    shown = json.dumps(next(panel for panel in panels(DASHBOARDS["workflow-engine"]) if panel["title"] == "Alerts"))
    assert all(alert in shown for alert in rules), "run: make dashboards"
    assert alerts.PAGES.endswith("/deploy/runbooks/")
    assert all((ROOT / "deploy/runbooks" / f"{alert}.md").exists() for alert in rules)


def test_workers_asked_for_are_those_of_the_scaled_object() -> None:
    scaled = yaml.safe_load(
        (ROOT / "deploy/kustomize/components/keda/scaled-object.yaml").read_text().split("\n---")[0]
    )
    by_length = next(trigger["metadata"] for trigger in scaled["spec"]["triggers"] if trigger["type"] == "redis")
    assert int(by_length["listLength"]) == limits.PENDING_TASKS_PER_WORKER
    assert scaled["spec"]["minReplicaCount"] == limits.WORKERS_MIN
    assert scaled["spec"]["maxReplicaCount"] == limits.WORKERS_MAX


def test_what_is_provisioned_is_what_compose_mounts() -> None:
    provisioning = ROOT / "deploy/grafana/provisioning"
    provider = yaml.safe_load((provisioning / "dashboards/workflow-engine.yaml").read_text())["providers"][0]
    source = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"][0]
    compose = yaml.safe_load((ROOT / "deploy/compose/monitoring.yaml").read_text())["services"]
    mounted = dict(volume.split(":")[:2] for volume in compose["grafana"]["volumes"])
    assert mounted["../grafana/provisioning"] == "/etc/grafana/provisioning"
    assert mounted["../grafana/dashboards"] == provider["options"]["path"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in compose


def test_kubernetes_gets_both_dashboards_with_the_label_that_grafana_looks_for() -> None:
    made = yaml.safe_load((ROOT / "deploy/grafana/kustomization.yaml").read_text())["configMapGenerator"]
    files = [file for each in made for file in each["files"]]
    assert files == [f"dashboards/{uid}.json" for uid in DASHBOARDS]
    assert all(each["options"]["labels"] == {"grafana_dashboard": "1"} for each in made)
    component = yaml.safe_load((ROOT / "deploy/kustomize/components/monitoring/kustomization.yaml").read_text())
    assert component["components"] == ["../../../grafana"]
