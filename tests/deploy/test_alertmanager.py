"""Who is told of which alert: the routes and inhibitions of deploy/prometheus, in a real Alertmanager."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.alertmanager import Alertmanager, Pagers, alertmanager
from support.eventually import eventually

_RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules"
RULES = {
    rule["alert"]: rule
    for file in sorted(_RULES.glob("*.yaml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
RUNBOOK = "https://gitlab.com/blueflyio/agent-platform/workflow-engine/-/blob/main"


@pytest.fixture
def told(tmp_path: Path) -> Iterator[tuple[Alertmanager, Pagers]]:
    with alertmanager(tmp_path, pace=100) as both:
        yield both


def alert(name: str, **labels: str) -> Mapping[str, Any]:
    """An alert as Prometheus sends it."""
    rule = RULES[name]
    return {"labels": {"alertname": name, **rule["labels"], **labels}, "annotations": rule["annotations"]}


def test_critical_alerts_page_warnings_go_to_slack_and_what_is_for_the_eyes_only_to_nobody(
    told: tuple[Alertmanager, Pagers],
) -> None:
    manager, pagers = told
    manager.fire(*map(alert, ("QueueBacklogCritical", "HighTaskLatency", "EngineOverloaded")))
    (page,) = eventually(lambda: pagers.messages("pagerduty"))
    (message,) = eventually(lambda: pagers.messages("slack"))
    assert (page.alert, message.alert) == ("QueueBacklogCritical", "HighTaskLatency")
    payload = page.body["payload"]
    assert payload["severity"] == "critical"
    assert payload["summary"] == "QueueBacklogCritical: Over 1,000 tasks are pending"
    assert payload["custom_details"]["runbook"] == f"{RUNBOOK}/deploy/runbooks/QueueBacklogCritical.md"
    assert message.body["channel"] == "#platform-incidents"
    (attachment,) = message.body["attachments"]
    assert attachment["title"] == "HighTaskLatency: Tasks take over five minutes on average"
    assert [button["url"] for button in attachment["actions"]] == [
        f"{RUNBOOK}/deploy/runbooks/HighTaskLatency.md",
        "https://grafana.local/d/workflow-queue",
    ]


def test_the_runbooks_alerts_of_three_replicas_are_one_message_that_names_them(
    told: tuple[Alertmanager, Pagers],
) -> None:
    manager, pagers = told
    manager.fire(*(alert("HighQueueDepth", instance=f"engine-{number}") for number in range(3)))
    (message,) = eventually(lambda: pagers.messages("slack"))
    (attachment,) = message.body["attachments"]
    assert attachment["title"] == "HighQueueDepth: Workflow queue depth high"
    lines = attachment["text"].strip().splitlines()
    assert [line.split()[-1] for line in lines] == ["engine-0", "engine-1", "engine-2"]
    assert all(button["url"].startswith("https://") for button in attachment["actions"]), "it has no page of its own"


@pytest.mark.parametrize(
    ("cause", "silenced"),
    [
        ("EngineDown", ["WorkflowEngineDown", "QueueBacklogCritical", "WorkflowStuckCritical", "WorkflowNoLeader"]),
        ("AllWorkersDown", ["WorkflowWorkersDown", "QueueBacklog", "QueueBacklogCritical", "WorkflowQueueUnserved"]),
        ("WorkflowPostgresAway", ["AllWorkersDown", "WorkflowNoLeader", "WorkflowPoolExhausted"]),
        ("QueueBacklogCritical", ["QueueBacklog", "HighQueueDepth"]),
        ("QueueBacklog", ["HighQueueDepth"]),
        ("WorkflowStuckCritical", ["WorkflowStuck"]),
    ],
)
def test_what_follows_from_another_alert_is_not_told_beside_it(
    told: tuple[Alertmanager, Pagers], cause: str, silenced: list[str]
) -> None:
    manager, pagers = told
    manager.fire(*map(alert, [cause, *silenced, "WorkflowFailureRate"]))
    eventually(lambda: {"WorkflowFailureRate", cause} <= {*pagers.told("pagerduty"), *pagers.told("slack")})
    states = manager.states()
    assert [name for name in states if states[name]] == sorted(silenced, key=list(states).index)
    assert {*pagers.told("pagerduty"), *pagers.told("slack")} == {"WorkflowFailureRate", cause}


def test_one_cluster_says_nothing_of_another(told: tuple[Alertmanager, Pagers]) -> None:
    manager, pagers = told
    manager.fire(alert("EngineDown", cluster="a"), alert("QueueBacklogCritical", cluster="b"))
    eventually(lambda: sorted(pagers.told("pagerduty")) == ["EngineDown", "QueueBacklogCritical"])
