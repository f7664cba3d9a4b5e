"""What becomes of blocks and maps: opened, ended, cancelled and retried. Rules are those of tests/sql/model.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from .model import ENDED, asked, decide
from .model_step import Step

ENDED_BADLY = {"failed", "cancelled"}


@dataclass
class Nested(Step):
    """A step that may open scopes: a map its one step for every item, a block its steps once."""

    inside: Mapping[str, Nested] = field(default_factory=dict)
    items: int | None = None  # None: a block
    width: int = 99
    tolerates: int = 0


@dataclass
class Scope:
    """A list of steps: those of the workflow, of a block, or the one of an item."""

    steps: Mapping[str, Nested]
    path: str  # of what is around, or empty
    body: bool
    fail_fast: bool
    state: str = "running"
    status: dict[str, str] = field(default_factory=dict)
    tried: set[str] = field(default_factory=set)
    inside: dict[str, list[Scope]] = field(default_factory=dict)  # what the steps have opened, in order

    def begin(self) -> None:
        self.state, self.status = "running", dict.fromkeys(self.steps, "blocked")
        self._decide()

    def path_of(self, name: str) -> str:
        return self.path if self.body else f"{self.path}.{name}".lstrip(".")

    def walk(self) -> Iterator[tuple[Scope, str]]:
        """All tasks there are, inner ones too."""
        for name in self.status:
            yield self, name
            for scope in self.inside.get(name, ()):
                yield from scope.walk()

    def statuses(self) -> dict[str, str]:
        return {scope.path_of(name): scope.status[name] for scope, name in self.walk()}

    def outcome(self, name: str, luck: Callable[[str], str]) -> str:
        """Of the attempt in progress."""
        if name in self.inside:
            failed = sum(scope.state == "failed" for scope in self.inside[name])
            return "failed" if failed > self.steps[name].tolerates else "succeeded"
        return "waiting" if self.steps[name].inside else luck(self.path_of(name))

    def settle(self, ended: Mapping[str, str]) -> None:
        """Outcomes of one transaction by path, and what follows for the workflow."""
        at_once = self.end(ended)
        self.go_on()  # what is to start does so before the workflow ends
        if at_once:
            self.cancel()
        self._close()

    def end(self, ended: Mapping[str, str]) -> bool:
        """Outcomes by path, here and inside; whether a failure now ends this scope at once."""
        for name, scopes in self.inside.items():
            if self.status[name] == "waiting":
                self._end_inside(name, scopes, ended)
        mine = {name: ended[self.path_of(name)] for name in self.status if self.path_of(name) in ended}
        for name, outcome in mine.items():
            if self.status[name] == "pending":
                self._end(name, outcome)
        self._decide()
        failed = [n for n, s in mine.items() if s == "failed" and not self.steps[n].tolerated]
        return self.fail_fast and any(not asked(self.steps, name) for name in failed)

    def go_on(self) -> None:
        """Start what there is room for inside steps that still wait, and resume those of which nothing is left."""
        for name, scopes in self.inside.items():
            if self.status[name] == "waiting":
                for scope in scopes:
                    if scope.state == "running":
                        scope.go_on()
                self._start_next(name)
                if all(scope.state not in {"running", "blocked"} for scope in scopes):
                    self.status[name] = "pending"

    def _close(self) -> None:
        if all(status in ENDED for status in self.status.values()):
            bad = [n for n, s in self.status.items() if s == "failed" and not self.steps[n].tolerated]
            self.state = "failed" if bad else "succeeded"

    def cancel(self) -> None:
        self.state = "cancelled"
        for name, status in self.status.items():
            if status not in ENDED:
                self.status[name] = "cancelled"
                for scope in self.inside.get(name, ()):
                    if scope.state in {"running", "blocked"}:
                        scope.cancel()

    def reopen(self) -> None:
        """What failed or was cancelled, and what could not run for it; the same inside steps that can go on at once."""
        again = {n for n, s in self.status.items() if s in ENDED_BADLY}
        hindered = {n for n, s in self.status.items() if s in {"failed", "skipped"}} - self.tried
        while behind := {n for n in hindered - again if again.intersection(self.steps[n].after)}:
            again |= behind
        self.tried -= again
        self.state = "running"
        self.status |= dict.fromkeys(again, "blocked")
        self._decide()
        for name in again & self.inside.keys():
            if self.status[name] != "pending":
                del self.inside[name]  # it starts over
                continue
            for scope in self.inside[name]:
                scope.state = "blocked" if scope.state in ENDED_BADLY else scope.state
            if any(scope.state == "blocked" for scope in self.inside[name]):
                self.status[name] = "waiting"
                self._start_next(name)

    def _end(self, name: str, outcome: str) -> None:
        self.status[name] = outcome
        if outcome in ENDED:
            self.tried.add(name)
        elif outcome == "waiting":
            step, path = self.steps[name], self.path_of(name)
            paths = [path] if step.items is None else [f"{path}[{n}]" for n in range(step.items)]
            self.inside[name] = [
                Scope(step.inside, path, step.items is not None, self.fail_fast, "blocked") for path in paths
            ]
            self._start_next(name)

    def _end_inside(self, name: str, scopes: list[Scope], ended: Mapping[str, str]) -> None:
        failed_before = sum(scope.state == "failed" for scope in scopes)
        for scope in scopes:
            if scope.state == "running":
                if scope.end(ended):
                    scope.cancel()
                scope._close()
        failed = sum(scope.state == "failed" for scope in scopes)
        if self.fail_fast and failed > max(failed_before, self.steps[name].tolerates):
            for scope in scopes:
                if scope.state in {"running", "blocked"}:
                    scope.cancel()

    def _start_next(self, name: str) -> None:
        scopes = self.inside[name]
        room = self.steps[name].width - sum(scope.state == "running" for scope in scopes)
        for scope in [s for s in scopes if s.state == "blocked"][: max(room, 0)]:
            if scope.status:
                scope.reopen()
            else:
                scope.begin()

    def _decide(self) -> None:
        while decided := {
            name: after
            for name, before in self.status.items()
            if before == "blocked" and (after := decide(self.steps, self.status, name)) != "blocked"
        }:
            self.status |= decided
