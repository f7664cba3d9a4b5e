"""Workflows whose end is known before they are started: the status, the output, and each effect that there must be.

A case follows from the seed and its number alone, so that a run can be played again. Documents are the same for all
cases of a kind, or of few shapes, and differ by their input: definitions are registered once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

Document: TypeAlias = dict[str, Any]
Play = Literal["", "cancel", "pause", "signal", "approve"]

HELD = "chaos-held"  # the lock that one workflow keeps

_SHAPES = 24  # of random programs
_HAPPY = frozenset({"succeeded"})
# An outage must not use the tries up: what ends a step in a case is what the case is about.
_RETRIES = {"max_attempts": 200, "initial_delay": "100ms", "backoff": 1.5, "max_delay": "1s"}
_QUICK = {**_RETRIES, "initial_delay": "20ms", "backoff": 1.0}


@dataclass(frozen=True, slots=True)
class Case:
    """A workflow to start, what is done to it, and what must become of it.

    Attributes:
        document: The body of the start.
        play: What the driver does to the workflow meanwhile, `delay` seconds after its start.
        statuses: How it may end, if what was played is accepted.
        output: Its output if it succeeds; None: it is not looked at.
        error: The type of its error if it fails.
        effects: What must have happened at the target by the time it has succeeded or failed, by name.
        tries: Calls of the target by effect, if no fault came in between.
        records: Rows that it stores.
    """

    kind: str
    document: Document
    play: Play = ""
    delay: float = 0.0
    statuses: frozenset[str] = _HAPPY
    output: Any = None
    error: str | None = None
    effects: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    tries: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    records: int = 0


class Cases:
    """All cases of a run.

    Args:
        seed: Of the run.
        target: URL of the target of the effects.
    """

    def __init__(self, seed: int, target: str) -> None:
        self._seed = seed
        self._target = target
        self._kinds: list[tuple[int, Callable[[random.Random], Case]]] = [
            (8, self._chain),
            (3, self._diamond),
            (3, self._map),
            (4, self._choice),
            (6, self._flaky),
            (4, self._fails),
            (6, self._timer),
            (5, self._signal),
            (3, self._approval),
            (4, self._children),
            (5, self._cancelled),
            (5, self._paused),
            (6, self._record),
            (1, self._large),
            (3, self._loop),
            (5, self._locked),
            (14, self._slow),
            (1, self._burning),
            (14, self._program),
        ]

    def case(self, number: int) -> Case:
        """The case of that number."""
        chance = random.Random(f"{self._seed}/case/{number}")
        weights, kinds = zip(*self._kinds, strict=True)
        kind: Callable[[random.Random], Case] = chance.choices(kinds, weights)[0]
        return kind(chance)

    def of_each_kind(self) -> list[Case]:
        """One case of each kind."""
        chance = random.Random(f"{self._seed}/each")
        return [kind(chance) for _, kind in self._kinds]

    def schedule(self) -> Document:
        """A definition that starts by itself every minute and answers for each of them."""
        return {
            "name": "chaos-tick",
            "schedule": [{"cron": "* * * * *", "overlap": "allow", "catchup": "all", "input": {"amount": 1}}],
            "steps": [self._effect("tick")],
        }

    def standing(self) -> Document:
        """A workflow that nobody runs: something that is pending for as long as the run lasts."""
        steps = [{"id": f"s{n}", "type": "noop", "queue": "nobody"} for n in range(20)]
        return {"name": "chaos-standing", "steps": steps, "labels": {"case": "standing"}}

    def holding(self) -> Document:
        """A workflow that keeps a lock for as long as the run lasts."""
        steps = [
            {"id": "take", "type": "noop", "locks": [{"key": HELD, "scope": "workflow"}]},
            {"id": "keep", "type": "signal", "inputs": {"name": "never"}, "depends_on": ["take"]},
        ]
        return {"name": "chaos-holding", "steps": steps, "labels": {"case": "holding"}}

    def poison(self, how: str) -> Document:
        """A workflow that takes down each worker that runs it."""
        step = {"id": "p", "type": "poison", "inputs": {"how": how}, "retries": {"max_attempts": 1}}
        return {"name": "chaos-poison", "steps": [step], "labels": {"case": "poison"}}

    # Kinds ------------------------------------------------------------------------------------------------------------

    def _chain(self, chance: random.Random) -> Case:
        steps: list[Document] = [{"id": "s0", "type": "transform", "expression": "input.amount"}]
        effects, amount = {}, chance.randint(1, 100)
        for n in range(1, 10):
            before = f"steps.s{n - 1}.output"
            if n in (3, 7):
                steps.append(self._effect(f"s{n}", amount=f"${{ {before} }}"))
                effects[f"s{n}"] = amount + n - 1 - (n > 3)
            else:
                steps.append({"id": f"s{n}", "type": "transform", "expression": f"{before} + 1"})
        # Each transform adds one, the two effects give what they got.
        return Case("chain", _flow("chain", steps, amount=amount), output={"s9": amount + 7}, effects=effects)

    def _diamond(self, chance: random.Random) -> Case:
        width, amount = 50, chance.randint(1, 100)
        middle = [f"m{n}" for n in range(width)]
        steps: list[Document] = [{"id": "first", "type": "transform", "expression": "input.amount"}]
        steps += [
            {"id": name, "type": "transform", "expression": f"steps.first.output + {n}"}
            for n, name in enumerate(middle)
        ]
        total = ", ".join(f"steps.{name}.output" for name in middle)
        steps.append({"id": "last", "type": "transform", "expression": f"sum([{total}])"})
        output = {"last": width * amount + sum(range(width))}
        return Case("diamond", _flow("diamond", steps, amount=amount), output=output)

    def _map(self, chance: random.Random) -> Case:
        width, amount = chance.choice([20, 100, 500]), chance.randint(1, 100)
        steps: list[Document] = [
            {
                "id": "each",
                "type": "transform",
                "expression": "index * input.amount",
                "for_each": {"items": "${ input.width }", "concurrency": 50},
            },
            {"id": "total", "type": "transform", "expression": "sum(steps.each.output)"},
            {**self._effect("call", name="call[${ index }]"), "for_each": {"items": 5}},
        ]
        output = {"total": amount * sum(range(width)), "call": [amount] * 5}
        effects = {f"call[{n}]": amount for n in range(5)}
        return Case("map", _flow("map", steps, amount=amount, width=width), output=output, effects=effects)

    def _choice(self, chance: random.Random) -> Case:
        amount = chance.randint(1, 100)
        steps: list[Document] = [
            {
                "id": "route",
                "type": "switch",
                "cases": [{"id": "big", "when": "input.amount > 50"}],
                "default": "small",
            },
            self._effect("large", after=[{"step": "route", "case": "big"}]),
            self._effect("little", after=[{"step": "route", "case": "small"}]),
            {"id": "join", "type": "transform", "value": "${ input.amount }", "depends_on": ["large", "little"]},
        ]
        effects = {"large" if amount > 50 else "little": amount}
        return Case("choice", _flow("choice", steps, amount=amount), output={"join": amount}, effects=effects)

    def _flaky(self, chance: random.Random) -> Case:
        amount, failures = chance.randint(1, 100), chance.randint(1, 4)
        mode = {"flaky": "${ input.failures }"}
        steps = [{**self._effect("try", mode=mode), "retries": _QUICK}]
        document = _flow("flaky", steps, amount=amount, failures=failures)
        return Case("flaky", document, output={"try": amount}, effects={"try": amount}, tries={"try": failures + 1})

    def _fails(self, chance: random.Random) -> Case:
        amount = chance.randint(1, 100)
        steps: list[Document] = [
            {**self._effect("do"), "compensate": _without_id(self._effect("undo"))},
            {"id": "no", "type": "fail", "inputs": {"type": "no", "message": "no"}, "depends_on": ["do"]},
        ]
        document = {
            **_flow("fails", steps, amount=amount),
            "on_failure": {"steps": [self._effect("tell")]},
        }
        effects = {"do": amount, "undo": amount, "tell": amount}
        return Case("fails", document, statuses=frozenset({"failed"}), error="user.no", effects=effects)

    def _timer(self, chance: random.Random) -> Case:
        amount, seconds = chance.randint(1, 100), chance.choice([1, 2, 5, 9])
        steps = [
            {"id": "rest", "type": "wait", "duration": f"{seconds}s"},
            self._effect("then", after=["rest"]),
        ]
        document = _flow(f"timer-{seconds}", steps, amount=amount)
        return Case("timer", document, output={"then": amount}, effects={"then": amount})

    def _signal(self, chance: random.Random) -> Case:
        amount = chance.randint(1, 100)
        steps = [
            {"id": "go", "type": "signal", "inputs": {"name": "go"}},
            self._effect("then", amount="${ steps.go.output.payload.amount }"),
        ]
        document = _flow("signal", steps, amount=amount)
        effects = {"then": amount}
        return Case("signal", document, "signal", chance.uniform(0, 3), output=effects, effects=effects)

    def _approval(self, chance: random.Random) -> Case:
        amount = chance.randint(1, 100)
        steps = [
            {"id": "ask", "type": "approval", "prompt": "May it?"},
            {**self._effect("then", amount="${ steps.ask.output.data.amount }")},
        ]
        document = _flow("approval", steps, amount=amount)
        effects = {"then": amount}
        return Case("approval", document, "approve", chance.uniform(0, 3), output=effects, effects=effects)

    def _children(self, chance: random.Random) -> Case:
        amount = chance.randint(1, 100)
        inner: Document = {"steps": [self._effect("leaf")], "output": "${ steps.leaf.output }"}
        for depth in (2, 1):
            call = {"id": "call", "type": "workflow", "definition": inner, "inputs": {"input": "${ input }"}}
            inner = {"name": f"chaos-child-{depth}", "steps": [call], "output": "${ steps.call.output + 1 }"}
        document = {**inner, **_flow("children", inner["steps"], amount=amount)}
        return Case("children", document, output=amount + 2, effects={"leaf": amount})

    def _cancelled(self, chance: random.Random) -> Case:
        amount = chance.randint(1, 100)
        slow = {"slow": "${ input.seconds }"}
        steps = [self._effect("a", mode=slow), self._effect("b", mode=slow, after=["a"])]
        document = _flow("cancelled", steps, amount=amount, seconds=round(chance.uniform(0.1, 1.5), 2))
        effects = {"a": amount, "b": amount}
        return Case("cancelled", document, "cancel", chance.uniform(0, 3), output={"b": amount}, effects=effects)

    def _paused(self, chance: random.Random) -> Case:
        amount = chance.randint(1, 100)
        slow = {"slow": 0.3}
        steps = [self._effect(f"s{n}", mode=slow, after=[f"s{n - 1}"] if n else []) for n in range(5)]
        effects = {f"s{n}": amount for n in range(5)}
        document = _flow("paused", steps, amount=amount)
        return Case("paused", document, "pause", chance.uniform(0, 1), output={"s4": amount}, effects=effects)

    def _record(self, chance: random.Random) -> Case:
        amount = chance.randint(1, 100)
        steps: list[Document] = [
            {"id": "make", "type": "transform", "value": {"amount": "${ input.amount }"}},
            {"id": "store", "type": "database", "depends_on": ["make"]},
        ]
        return Case("record", _flow("record", steps, amount=amount), output={"store": {"stored": True}}, records=1)

    def _large(self, chance: random.Random) -> Case:
        amount = chance.randint(1, 100)
        steps: list[Document] = [
            {"id": "size", "type": "transform", "expression": "size(input.text) + input.amount"},
            {**self._effect("huge", mode={"huge": 0}), "on_error": "continue", "output": "${ result.body }"},
        ]
        size = 700_000
        document = {**_flow("large", steps, amount=amount, text="x" * size), "output": "${ steps.size.output }"}
        return Case("large", document, output=size + amount, effects={"huge": amount}, tries={"huge": 1})

    def _loop(self, chance: random.Random) -> Case:
        amount, times = chance.randint(1, 100), chance.randint(2, 12)
        steps: list[Document] = [
            {
                "id": "again",
                "type": "transform",
                "expression": "iteration * input.amount",
                "loop": {"until": "result >= input.times * input.amount", "delay": "50ms"},
            }
        ]
        document = _flow("loop", steps, amount=amount, times=times)
        return Case("loop", document, output={"again": times * amount})

    def _locked(self, chance: random.Random) -> Case:
        amount = chance.randint(1, 100)
        steps = [
            {**self._effect("alone", mode={"slow": 0.1}), "locks": ["chaos"]},
            {
                **self._effect("few", mode={"slow": 0.2}, after=["alone"]),
                "limits": [{"key": "chaos", "concurrency": 3}],
            },
        ]
        effects = {"alone": amount, "few": amount}
        return Case("locked", _flow("locked", steps, amount=amount), output={"few": amount}, effects=effects)

    def _slow(self, chance: random.Random) -> Case:
        amount = chance.randint(1, 100)
        modes: list[Document] = [{"slow": 1.0}, {"slow": 2.5}, {"after": 1}, {"hang": 1}]
        steps = [self._effect(f"s{n}", mode=mode) for n, mode in enumerate(modes)]
        output = {f"s{n}": amount for n in range(len(modes))}
        return Case("slow", _flow("slow", steps, amount=amount), output=output, effects=output)

    def _burning(self, chance: random.Random) -> Case:
        """Its lease is kept though it never lets the event loop run, for longer than a lease."""
        steps: list[Document] = [{"id": "burn", "type": "burn", "inputs": {"seconds": "${ input.seconds }"}}]
        return Case("burning", _flow("burning", steps, seconds=chance.choice([1, 4])), output={"burn": 1})

    def _program(self, chance: random.Random) -> Case:
        """A random graph of transforms and effects, which all add up what the steps before them gave."""
        shape = chance.randrange(_SHAPES)
        form = random.Random(f"{self._seed}/shape/{shape}")
        amount, values = chance.randint(1, 100), list[int]()
        steps: list[Document] = []
        effects, used = {}, set[int]()
        for n in range(form.randint(3, 14)):
            before = sorted(form.sample(range(n), min(n, form.randint(0, 3))))
            used.update(before)
            added = " + ".join(["input.amount", *(f"steps.s{b}.output" for b in before)])
            value = amount + sum(values[b] for b in before)
            if form.random() < 0.6:
                mode: Document = form.choice([{}, {}, {"slow": 0.2}, {"flaky": 1}, {"after": 1}])
                steps.append(self._effect(f"s{n}", amount=f"${{ {added} }}", mode=mode))
                effects[f"s{n}"] = value
            else:
                steps.append({"id": f"s{n}", "type": "transform", "expression": added})
            values.append(value)
        output = {f"s{n}": value for n, value in enumerate(values) if n not in used}
        document = _flow(f"program-{shape}", steps, amount=amount)
        return Case("program", document, output=output, effects=effects)

    def _effect(
        self,
        id: str,
        *,
        amount: str = "${ input.amount }",
        name: str | None = None,
        after: list[Any] | None = None,
        mode: Document | None = None,
    ) -> Document:
        """A step that has an effect at the target and gives its amount."""
        return {
            "id": id,
            "type": "http",
            "method": "POST",
            "url": self._target,
            "body": {
                "workflow": "${ workflow.id }",
                "effect": name or id,
                "amount": amount,
                "mode": mode or {},
            },
            "output": "${ result.body.amount }",
            "timeout": "6s",
            "retries": _RETRIES,
            "depends_on": after or [],
        }


def _flow(name: str, steps: list[Document], **given: Any) -> Document:
    return {"name": f"chaos-{name}", "steps": steps, "input": given}


def _without_id(step: Document) -> Document:
    return {name: value for name, value in step.items() if name not in ("id", "depends_on")}
