"""The alerts that are evaluated here are those of the rules for Prometheus, with their thresholds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from workflow_engine.observability.alert_rules import ELSEWHERE, NO_LEADER, RULES, Rule
from workflow_engine.observability.alerts import at_present, holding, summary_of, told
from workflow_engine.records import Alert, Watched

_DEPLOY = Path(__file__).parents[2] / "deploy"
NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
# What the database knows in other words than the metrics: why the expression has another number, or none.
OTHERWISE = {
    "WorkflowFailureRate": "its ten workflows are `beside`, as more than nine",
    "WorkflowNoLeader": "nobody has looked for half a minute",
    "WorkflowQueueUnserved": "of a queue without slots",
    "EnginePausedLong": "how long instead of whether",
    "WorkerMemoryNearLimit": "a worker says itself that it is near",
    "WorkflowApiErrors": "how long ago instead of how many within",
    "WorkflowPoolExhausted": "the same",
    "WorkflowDeadlock": "the same",
    "WorkflowAuditRowsLost": "the same",
}


def of_prometheus() -> dict[str, dict[str, Any]]:
    files = (_DEPLOY / "prometheus" / "rules").glob("*.yaml")
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def test_each_alert_of_prometheus_is_evaluated_here_or_it_is_said_why_not() -> None:
    assert {*RULES, *ELSEWHERE} == {*of_prometheus()}
    assert not {*RULES} & {*ELSEWHERE}


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_an_alert_says_the_same_here_as_in_prometheus(rule: Rule) -> None:
    there = of_prometheus()[rule.name]
    waits = re.fullmatch(r"(\d+)m", there.get("for", "0m"))
    assert waits is not None
    assert rule.severity == there["labels"]["severity"]
    assert rule.seconds == 60 * int(waits[1])
    summary = re.sub(r"\{\{ \$labels\.\w+ \}\}", "", there["annotations"]["summary"]).strip()
    ours = rule.summary.replace("{subject}", "").strip()
    assert ours == summary or (
        rule.name == "WorkflowPoolExhausted" and ours == summary.replace("of  get", "of engines get")
    )
    windows = {60 * int(minutes) for minutes in re.findall(r"\[(\d+)m\]", there["expr"])}
    for condition in rule.conditions:
        comparison = rf"{'==' if condition.than == '=' else condition.than} {condition.threshold:g}(?![\d.])"
        if rule.name in OTHERWISE and not re.search(comparison, there["expr"].replace("0.10", "0.1")):
            assert condition.threshold in {0, 30, *windows}
        else:
            assert re.search(comparison, there["expr"].replace("0.10", "0.1")), condition


def test_what_only_follows_from_another_alert_is_what_alertmanager_does_not_tell() -> None:
    inhibited: dict[str, set[str]] = {name: set() for name in RULES}
    for rule in yaml.safe_load((_DEPLOY / "prometheus" / "alertmanager.yaml").read_text())["inhibit_rules"]:
        (source,), (targets,) = (
            re.findall(r'"([^"]+)"', rule[side][0]) for side in ("source_matchers", "target_matchers")
        )
        for target in targets.split("|"):
            if source in RULES and target in RULES:
                inhibited[target].add(source)
    assert {name: set(rule.follows) for name, rule in RULES.items()} == inhibited


def test_a_condition_holds_beyond_its_threshold_and_not_at_it() -> None:
    def names(**measures: Any) -> set[str]:
        return {one.name for one in holding(measures)}

    assert names(pending=100) == set()
    assert names(pending=101) == {"QueueBacklog"}
    assert names(pending=1001) == {"QueueBacklog", "QueueBacklogCritical"}
    assert names(pending=101, ended_per_minute=9.9) == {"QueueBacklog", "TaskThroughputLow"}
    assert names(pending=100, ended_per_minute=0) == set()
    assert names(ended_per_minute=0) == set()
    assert names(workflows_ended=9, failed_share=1.0) == set()
    assert names(workflows_ended=10, failed_share=0.11) == {"WorkflowFailureRate"}
    assert names(workers_active=0) == {"AllWorkersDown"}
    assert names(api_errors_ago=899) == {"WorkflowApiErrors"}
    assert names(api_errors_ago=901) == set()
    assert names() == set()


def test_what_is_about_several_holds_for_each_and_since_when_it_is_known() -> None:
    found = {(one.name, one.subject): one for one in holding({"unserved": {"gpu": 3, "cpu": 1}, "paused_seconds": 600})}
    assert {*found} == {("WorkflowQueueUnserved", "gpu"), ("WorkflowQueueUnserved", "cpu"), ("EnginePausedLong", "")}
    assert found["EnginePausedLong", ""].age_seconds == 600
    assert found["WorkflowQueueUnserved", "gpu"].age_seconds == 0


def firing(name: str, subject: str = "", state: str = "firing") -> Alert:
    return Alert(name, subject, RULES[name].severity, state, 1.0, 0.0, NOW, NOW, None)


def test_nobody_is_told_of_what_follows_from_another_alert() -> None:
    alerts = [firing("QueueBacklog"), firing("AllWorkersDown"), firing("WorkflowDeadlock")]
    assert [alert.name for alert in told(alerts)] == ["AllWorkersDown", "WorkflowDeadlock"]
    pending = [firing("QueueBacklog"), firing("AllWorkersDown", state="pending")]
    assert [alert.name for alert in told(pending)] == ["QueueBacklog"]


def test_that_nobody_leads_shows_by_nobody_having_looked() -> None:
    def after(seconds: float) -> list[tuple[str, str]]:
        watched = Watched(NOW, NOW + timedelta(seconds=seconds), {}, [])
        return [(alert.name, alert.state) for alert in at_present(watched)]

    assert after(29) == []
    assert after(31) == [(NO_LEADER, "pending")]
    assert after(121) == [(NO_LEADER, "firing")]
    assert at_present(Watched(None, NOW, {}, [])) == []


def test_those_that_fire_come_first_and_the_most_urgent_of_them() -> None:
    alerts = [firing("QueueBacklog", state="pending"), firing("WorkflowDeadlock"), firing("AllWorkersDown")]
    watched = Watched(NOW, NOW, {}, alerts)
    assert [alert.name for alert in at_present(watched)] == ["AllWorkersDown", "WorkflowDeadlock", "QueueBacklog"]
    assert summary_of(firing("WorkflowQueueUnserved", "gpu")) == "No worker serves the queue gpu"
