"""The shapes that are run: all steps are no-ops, so that only the engine costs time."""

from __future__ import annotations

from typing import Any

from workflow_engine.definition.compile import compile_definition
from workflow_engine.definition.plan import CompiledDefinition


def single() -> CompiledDefinition:
    return _compile("bench-single", [{"id": "only", "type": "noop"}])


def chain(length: int) -> CompiledDefinition:
    """Each step waits for the one before."""
    steps: list[dict[str, Any]] = [{"id": "s0", "type": "noop"}]
    steps += [{"id": f"s{n}", "type": "noop", "depends_on": [f"s{n - 1}"]} for n in range(1, length)]
    return _compile(f"bench-chain-{length}", steps)


def fan_out(width: int) -> CompiledDefinition:
    """`width` steps side by side and one that waits for all of them."""
    steps: list[dict[str, Any]] = [{"id": f"s{n}", "type": "noop"} for n in range(width)]
    steps.append({"id": "join", "type": "noop", "depends_on": [f"s{n}" for n in range(width)]})
    return _compile(f"bench-fan-out-{width}", steps)


def waiting(turn_queue: str) -> list[CompiledDefinition]:
    """Steps that wait for a time of the input, a signal, an approval; and a no-op on a queue of its own."""
    return [
        _compile("bench-timer", [{"id": "only", "type": "wait", "until": "${ input.until }"}]),
        _compile("bench-signal", [{"id": "only", "type": "signal", "inputs": {"name": "go"}}]),
        _compile("bench-approval", [{"id": "only", "type": "approval", "prompt": "Go on?"}]),
        _compile("bench-turn", [{"id": "only", "type": "noop", "queue": turn_queue}]),
    ]


def _compile(name: str, steps: list[dict[str, Any]]) -> CompiledDefinition:
    return compile_definition({"name": name, "steps": steps})
