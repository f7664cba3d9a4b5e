"""The runbook's alerts: each is caused on two engines and two workers that a real Prometheus scrapes, and ends.

The rules are those of deploy/prometheus, in which time runs faster (`PACE`); `THRESHOLDS` has what else is changed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.alertmanager import Pagers, alertmanager
from support.documents import flow, step
from support.eventually import eventually
from support.hurry import hurried
from support.prometheus import Prometheus, prometheus
from support.runbook import COMMANDS
from support.stack import Stack

pytestmark = pytest.mark.long

RULES = sorted((Path(__file__).parents[2] / "deploy" / "prometheus" / "rules").glob("*.yaml"))
PACE = 40  # ten minutes are 15 seconds
THRESHOLDS = {
    "HighTaskLatency": ("> 300", f"> {300 / PACE}"),
    # Processes start no faster than they do, and the list in Redis is not written more often.
    "WorkerRestarting": ("[15000ms]", "[40s]"),
    "WorkflowQueueMirrorStale": ("> 30", "> 10"),
}
RUNBOOK = {
    *("EngineDown", "AllWorkersDown", "WorkflowStuckCritical", "QueueBacklogCritical"),
    *("HighTaskLatency", "WorkerRestarting", "QueueBacklog", "WorkflowFailureRate"),
    *("WorkflowEngineDown", "WorkflowWorkersDown", "HighQueueDepth", "WorkflowStuck"),
}
PATIENCE = 90


@dataclass
class Scene:
    """The stack, and those who watch it."""

    stack: Stack
    watch: Prometheus
    pagers: Pagers

    def await_firing(self, *alerts: str) -> None:
        """Wait until each of these has fired."""
        missing = set(alerts)

        def fired() -> bool:
            missing.difference_update(self.watch.firing())
            assert not missing, f"{missing} did not fire, but {self.watch.firing()}"
            return True

        eventually(fired, PATIENCE)

    def await_cleared(self, *alerts: str) -> None:
        """Wait until none of these fires."""

        def cleared() -> bool:
            assert not (left := self.watch.firing() & set(alerts)), f"{left} still fire"
            return True

        eventually(cleared, PATIENCE)

    def await_numbers(self, **alerts: int) -> None:
        """Wait until so many alerts of each name fire: one for each replica, or one for all of them."""

        def numbers() -> bool:
            firing = [labels["alertname"] for labels, _ in self.watch.query('ALERTS{alertstate="firing"}')]
            assert {alert: firing.count(alert) for alert in alerts} == alerts
            return True

        eventually(numbers, PATIENCE)

    def await_told(self, to: str, *alerts: str, over: bool = False) -> None:
        """Wait until PagerDuty or Slack was told of each of these, or of its end."""

        def told() -> bool:
            assert not (missing := set(alerts) - set(self.pagers.told(to, resolved=over))), f"{missing} is not told"
            return True

        eventually(told, PATIENCE)

    def restarts(self) -> float:
        """How often workers have started anew in the last minutes."""
        return sum(
            value for _, value in self.watch.query("changes(process_start_time_seconds{job='workflow-workers'}[5m])")
        )

    def scale(self, name: str, replicas: int) -> None:
        self.stack.ask("scale", name=name, replicas=replicas)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Stack() as stack, alertmanager(tmp_path / "alertmanager", pace=20) as (manager, pagers):
        jobs = {
            "workflow-engine": [url.removeprefix("http://") for url in stack.engine_urls],
            "workflow-workers": [f"127.0.0.1:{port}" for port in stack.facts["worker_metrics"]],
        }
        rules = hurried(RULES, tmp_path, PACE, THRESHOLDS)
        with prometheus(
            tmp_path / "prometheus", jobs, rules=rules, interval="2s", alertmanagers=[manager.address]
        ) as watch:
            yield Scene(stack, watch, pagers)


@pytest.mark.timeout(400)
def test_each_alert_of_the_runbook_fires_when_there_is_a_cause_and_ends_with_it(scene: Scene) -> None:
    stack, watch = scene.stack, scene.watch
    stack.await_ends(stack.start_many([flow("well", step("a"))] * 20))
    scene.await_cleared(*RUNBOOK)

    # Workflows fail, and others are slow. Redis is away, which is no matter for either.
    stack.ask("redis", on=False)
    fails = flow("fails", {"id": "a", "type": "fail"})
    stack.await_ends(stack.start_many([fails, flow("well", step("a"))]))
    slow = stack.start_many([flow("slow", step("a", seconds=8 + number)) for number in range(40)])
    eventually(lambda: watch.query('workflow_workflows_ended_total{definition="fails"} > 0'), PATIENCE)
    stack.start_many([fails] * 20)
    scene.await_firing("WorkflowFailureRate", "HighTaskLatency", "WorkflowQueueMirrorStale")
    stack.ask("redis", on=True)
    for workflow in slow:
        stack.shell(COMMANDS["Cancel Workflow"], workflow_id=workflow)
    stack.await_ends(stack.start_many([flow("well", step("a"))] * 400))
    scene.await_cleared("WorkflowFailureRate", "HighTaskLatency", "WorkflowQueueMirrorStale")

    # Workers crash again and again.
    while "WorkerRestarting" not in watch.firing():
        before = scene.restarts()
        stack.shell(COMMANDS["Force restart (may lose in-progress workflows)"].splitlines()[1])
        eventually(lambda before=before: scene.restarts() >= before + 2, PATIENCE)

    # There are none at all, and work comes.
    scene.scale("workflow-workers", 0)
    held = stack.start_many([flow("well", step("a"))] * 1000) + stack.start_many([flow("well", step("a"))] * 100)
    with stack.connect() as connection:
        connection.execute(
            "update workflow.workflows set created_at = created_at - interval '61 min' where id = any(%s)", [held]
        )
    queue = ("HighQueueDepth", "QueueBacklog", "QueueBacklogCritical", "WorkflowStuck", "WorkflowStuckCritical")
    scene.await_numbers(WorkflowWorkersDown=2, AllWorkersDown=1)
    scene.await_numbers(HighQueueDepth=2, QueueBacklog=1, QueueBacklogCritical=1)
    scene.await_numbers(WorkflowStuck=2, WorkflowStuckCritical=1)
    scene.scale("workflow-workers", 2)
    assert set(stack.await_ends(held).values()) == {"succeeded"}
    scene.await_cleared("WorkflowWorkersDown", "AllWorkersDown", "WorkerRestarting", *queue)

    # One engine of two stands still, then there is none.
    halted = stack.pids("engines")[0]
    os.kill(halted, signal.SIGSTOP)
    scene.await_numbers(WorkflowEngineDown=1, EngineDown=0)
    scene.await_told("pagerduty", "WorkflowEngineDown")
    os.kill(halted, signal.SIGCONT)
    scene.await_cleared("WorkflowEngineDown")
    scene.scale("workflow-engine", 0)
    scene.await_numbers(WorkflowEngineDown=2, EngineDown=1)
    scene.await_told("pagerduty", "EngineDown")
    scene.scale("workflow-engine", 2)
    scene.await_cleared(*RUNBOOK)

    # Those whom it concerns were told, and that it is over.
    scene.await_told(
        "pagerduty", "AllWorkersDown", "WorkflowStuckCritical", "WorkflowEngineDown", "EngineDown", over=True
    )
    scene.await_told("slack", "WorkflowFailureRate", "HighTaskLatency", "WorkflowQueueMirrorStale", over=True)
