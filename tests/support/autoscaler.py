"""What KEDA and Kubernetes make of a ScaledObject, as their documentation says, on a clock of one's own.

KEDA hands each trigger to an autoscaler of Kubernetes, which looks every 15 seconds: it takes the largest number that
a trigger asks for, waits as long as a window says before it believes that less is enough, and changes no more at once
than policies allow. KEDA's own part is what a trigger says when it cannot be read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

TOLERANCE = 0.1
"""By how much a trigger may be off its target before anything is changed."""
_TARGETS = {"redis": "listLength", "metrics-api": "targetValue", "cpu": "value"}
# Of Kubernetes, where a ScaledObject says nothing of its behavior.
_UP = {
    "stabilizationWindowSeconds": 0,
    "policies": [
        {"type": "Percent", "value": 100, "periodSeconds": 15},
        {"type": "Pods", "value": 4, "periodSeconds": 15},
    ],
}
_DOWN = {"stabilizationWindowSeconds": 300, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}


@dataclass(frozen=True)
class Trigger:
    """What one of them asks for."""

    name: str
    type: str
    target: float

    def wants(self, value: float, replicas: int) -> int:
        """The replicas for a value: the total of a list or a load, or the average of the processors in percent."""
        total = value * replicas if self.type == "cpu" else value
        if abs(1 - total / (self.target * replicas)) <= TOLERANCE:
            return replicas
        return math.ceil(total / self.target)


class Autoscaler:
    """Decides about one deployment.

    Args:
        document: The ScaledObject.
        replicas: How many run.
    """

    def __init__(self, document: Mapping[str, Any], replicas: int) -> None:
        spec = document["spec"]
        self.least: int = spec["minReplicaCount"]
        self.most: int = spec["maxReplicaCount"]
        self.replicas = replicas
        self.triggers = list(_triggers(spec["triggers"]))
        self._fallback = spec.get("fallback")
        behavior = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior", {})
        self._up, self._down = behavior.get("scaleUp", _UP), behavior.get("scaleDown", _DOWN)
        self._failures = dict.fromkeys((trigger.name for trigger in self.triggers), 0)
        self._wanted: list[tuple[float, int]] = []  # when, and how many
        self._changes: list[tuple[float, int]] = []  # when, and by how many

    def look(self, now: float, values: Mapping[str, float | None]) -> int:
        """Decide at a time, in seconds, about the values of the triggers; None = it could not be read."""
        wanted = self._wants(values)
        self._wanted.append((now, wanted))
        target = min(max(self._settled(now, wanted), self.least), self.most)
        if target > self.replicas:
            target = min(target, max(self._limits(now, self._up["policies"], +1)))
        elif target < self.replicas:
            target = max(target, min(self._limits(now, self._down["policies"], -1)))
        if target != self.replicas:
            self._changes.append((now, target - self.replicas))
            self.replicas = target
        return self.replicas

    def _wants(self, values: Mapping[str, float | None]) -> int:
        asked = {trigger.name: self._asked(trigger, values[trigger.name]) for trigger in self.triggers}
        numbers = [number for number in asked.values() if number is not None]
        most = max(numbers, default=self.replicas)
        # As long as one of them says nothing, the others are believed when they want more.
        return max(most, self.replicas) if len(numbers) < len(asked) else most

    def _asked(self, trigger: Trigger, value: float | None) -> int | None:
        if value is not None:
            self._failures[trigger.name] = 0
            return trigger.wants(value, self.replicas)
        self._failures[trigger.name] += 1
        if trigger.type == "cpu" or not self._fallback:
            return None
        if self._failures[trigger.name] <= self._fallback["failureThreshold"]:
            return None
        floor: int = self._fallback["replicas"]
        return max(floor, self.replicas) if self._fallback.get("behavior") == "currentReplicasIfHigher" else floor

    def _settled(self, now: float, wanted: int) -> int:
        """The number after both windows: the least of the one for more, the most of the one for less."""

        def within(seconds: float) -> list[int]:
            return [wanted, *(number for when, number in self._wanted if when > now - seconds)]

        more = min(within(self._up["stabilizationWindowSeconds"]))
        less = max(within(self._down["stabilizationWindowSeconds"]))
        return min(max(self.replicas, more), less)

    def _limits(self, now: float, policies: list[Mapping[str, Any]], way: int) -> Iterator[int]:
        for policy in policies:
            changed = sum(by for when, by in self._changes if when > now - policy["periodSeconds"])
            before = self.replicas - changed
            step = policy["value"] if policy["type"] == "Pods" else before * policy["value"] / 100
            limit = math.ceil(before + step) if way > 0 else int(before - step)
            yield max(limit, self.replicas) if way > 0 else min(limit, self.replicas)


def _triggers(described: list[Mapping[str, Any]]) -> Iterator[Trigger]:
    for number, trigger in enumerate(described):
        target = float(trigger["metadata"][_TARGETS[trigger["type"]]])
        yield Trigger(trigger.get("name", f"{trigger['type']}-{number}"), trigger["type"], target)
