"""A modelled workflow: what its tasks come to, attempt by attempt, retry by retry, as tests/sql/model.py decides."""

from __future__ import annotations

from dataclasses import dataclass, field

from .model import ENDED, asked, decide
from .model_step import Step

MAX_CRASHES = 3


@dataclass
class Model:
    steps: dict[str, Step]
    fail_fast: bool
    status: dict[str, str] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    started: bool = False
    tried: set[str] = field(default_factory=set)  # that ended by an attempt; the others that ended were decided about

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

    @property
    def tried_and_failed(self) -> set[str]:
        return {name for name in self.tried if self.status[name] == "failed"}

    def settle(self, ended: dict[str, str]) -> None:
        """Final outcomes of one transaction, and what follows from them."""
        self.status |= ended
        self.tried |= ended.keys()
        while decided := {
            name: after
            for name, before in self.status.items()
            if before == "blocked" and (after := decide(self.steps, self.status, name)) != "blocked"
        }:
            self.status |= decided
        fatal = [n for n, s in ended.items() if s == "failed" and self._fails(n) and not asked(self.steps, n)]
        if self.fail_fast and fatal:
            self.status = {n: s if s in ENDED else "cancelled" for n, s in self.status.items()}

    def reopen(self) -> int:
        """What failed or was cancelled, and what could not run for it; returns how many."""
        return self._reopen({n for n, s in self.status.items() if s in {"failed", "cancelled"}})

    def reopen_task(self, name: str) -> int:
        """One task that failed by itself, what was cancelled, and what could not run for them; returns how many."""
        return self._reopen({name} | {n for n, s in self.status.items() if s == "cancelled"})

    def _reopen(self, again: set[str]) -> int:
        hindered = {n for n, s in self.status.items() if s in {"failed", "skipped"}} - self.tried
        while behind := {n for n in hindered - again if again.intersection(self.steps[n].after)}:
            again = again | behind
        self.tried -= again
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
        self.tried = stays
        for name in stays:
            self.steps[name].chooses = before.steps[name].chooses
        self.settle({})
        return len(self.steps) - len(stays)

    def _fails(self, name: str) -> bool:
        return self.status[name] == "failed" and not self.steps[name].tolerated
