"""Holds numbers against the rules of alerts, and says of alerts what they mean."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from workflow_engine.observability.alert_rules import LOOKED_SECONDS, NO_LEADER, RULES, Condition
from workflow_engine.records import Alert, Holding, Measures, Watched


def holding(measures: Measures) -> list[Holding]:
    """The conditions that hold by these numbers, one for each alert and what it is about."""
    found: dict[tuple[str, str], Holding] = {}
    for rule in RULES.values():
        for condition in rule.conditions:
            for subject, number in condition.among(measures):
                age = number - condition.threshold if condition.ages else 0.0
                one = Holding(rule.name, subject, rule.severity, number, condition.threshold, rule.seconds, age)
                found.setdefault((rule.name, subject), one)
    return [*found.values()]


def at_present(watched: Watched) -> list[Alert]:
    """The alerts whose condition holds; that nobody leads is among them, which nobody could have noted."""
    alerts = [*watched.alerts]
    if watched.at is not None and watched.now - watched.at > timedelta(seconds=LOOKED_SECONDS):
        rule = RULES[NO_LEADER]
        fires_at = watched.at + timedelta(seconds=rule.seconds)
        state = "firing" if fires_at <= watched.now else "pending"
        seconds = (watched.now - watched.at).total_seconds()
        alerts.append(Alert(NO_LEADER, "", rule.severity, state, seconds, LOOKED_SECONDS, watched.at, fires_at, None))
    order = {name: number for number, name in enumerate(RULES)}
    return sorted(alerts, key=lambda alert: (alert.state != "firing", order.get(alert.name, len(order)), alert.subject))


def told(alerts: Collection[Alert]) -> list[Alert]:
    """Those that fire and do not only follow from another that does."""
    firing = {alert.name for alert in alerts if alert.state == "firing"}
    return [alert for alert in alerts if alert.state == "firing" and not firing.intersection(follows(alert))]


def follows(alert: Alert) -> Collection[str]:
    """The alerts from which this one only follows."""
    rule = RULES.get(alert.name)
    return rule.follows if rule is not None else ()


def condition_of(alert: Alert) -> Condition | None:
    """By which condition it holds; None: a later version of the engine noted it."""
    rule = RULES.get(alert.name)
    if rule is None:
        return None
    return next((one for one in rule.conditions if one.threshold == alert.threshold), rule.conditions[0])


def summary_of(alert: Alert) -> str:
    """What is wrong, in a line; the name of an alert that a later version of the engine noted."""
    rule = RULES.get(alert.name)
    return rule.summary.format(subject=alert.subject) if rule is not None else alert.name
