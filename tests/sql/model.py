"""What the graph rules say becomes of a workflow, in plain Python: the yardstick of the property test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

MAX_CRASHES = 3
ENDED = {"succeeded", "failed", "skipped", "cancelled"}


@dataclass
class Step:
    after: list[str]  # all dependencies
    ordering: list[str]  # those of them that only order
    tolerated: bool
    script: list[str]  # outcomes of its attempts, the last one final; beyond its end it succeeds


@dataclass
class Model:
    steps: dict[str, Step]
    fail_fast: bool
    status: dict[str, str] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    started: bool = False
    tried_and_failed: set[str] = field(default_factory=set)  # the others that failed could not run

    def __post_init__(self) -> None:
        self.status = dict.fromkeys(self.steps, "blocked")
        self.attempts = dict.fromkeys(self.steps, 0)
        self.settle({})

    @property
    def pending(self) -> list[str]:
        return [name for name, status in self.status.items() if status == "pending"]

    @property
    def workflow(self) -> str:
        if set(self.status.values()) - ENDED:
            return "running" if self.started or any(self.attempts.values()) else "pending"
        return "failed" if any(map(self._fails, self.steps)) else "succeeded"

    def outcome(self, name: str) -> str:
        """Of the attempt in progress."""
        script, attempt = self.steps[name].script, self.attempts[name]
        return script[attempt - 1] if attempt <= len(script) else "succeeded"

    def settle(self, ended: dict[str, str]) -> None:
        """Final outcomes of one transaction, and what follows from them."""
        self.status |= ended
        failed = {name for name, status in ended.items() if status == "failed"}
        self.tried_and_failed |= failed
        while ready := [n for n, s in self.steps.items() if self.status[n] == "blocked" and self._ended(s.after)]:
            for name in ready:
                self.status[name] = self._decide(self.steps[name])
        if self.fail_fast and any(map(self._fails, failed)):
            self.status = {n: s if s in ENDED else "cancelled" for n, s in self.status.items()}

    def reopen(self) -> None:
        self.status = {n: "blocked" if s in {"failed", "cancelled"} else s for n, s in self.status.items()}
        self.tried_and_failed.clear()
        self.settle({})

    def reopen_task(self, name: str) -> int:
        """One task that failed by itself, what was cancelled, and what could not run for it; returns how many."""
        again = {name} | {n for n, s in self.status.items() if s == "cancelled"}
        hindered = {n for n, s in self.status.items() if s == "failed"} - self.tried_and_failed
        while behind := {n for n in hindered - again if again.intersection(self.steps[n].after)}:
            again |= behind
        self.tried_and_failed.discard(name)
        self.status |= dict.fromkeys(again, "blocked")
        self.settle({})
        return len(again)

    def take_over(self, before: Model, same_type: set[str]) -> int:
        """Go on from what another version of the definition has done; returns how many steps start anew."""
        stays = {n for n, s in before.status.items() if s == "succeeded" and n in same_type} & set(self.steps)
        while not all(stays.issuperset(self.steps[n].after) for n in stays):
            stays = {n for n in stays if stays.issuperset(self.steps[n].after)}
        self.status = {n: "succeeded" if n in stays else "blocked" for n in self.steps}
        self.attempts = {n: before.attempts[n] if n in stays else 0 for n in self.steps}
        self.started = any(before.attempts.values())
        self.settle({})
        return len(self.steps) - len(stays)

    def _ended(self, names: Iterable[str]) -> bool:
        return all(self.status[name] in ENDED for name in names)

    def _fails(self, name: str) -> bool:
        return self.status[name] == "failed" and not self.steps[name].tolerated

    def _decide(self, step: Step) -> str:
        conditions = [name for name in step.after if name not in step.ordering]
        if any(map(self._fails, conditions)):
            return "failed"
        if any(self.status[name] in {"succeeded", "failed"} for name in conditions):
            return "pending"
        return "skipped" if conditions else "pending"
