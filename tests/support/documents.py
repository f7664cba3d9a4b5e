"""Definitions with known answers for tests that run real workers (see `acceptance_handlers`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Document = dict[str, Any]


def step(name: str, *after: str, type: str = "count", **inputs: Any) -> Document:
    """A step that counts what those in `after` counted, plus one."""
    return {
        "id": name,
        "type": type,
        "depends_on": list(after),
        "inputs": {"n": [f"${{ steps.{other}.output.n }}" for other in after], **inputs},
    }


def flow(name: str, *steps: Document, **fields: Any) -> Document:
    return {"name": name, "steps": list(steps), **fields}


def chain(length: int, **inputs: Any) -> Document:
    """Steps one after the other; the last counts `length`."""
    names = [f"s{number}" for number in range(length)]
    steps = [step(name, *names[:number][-1:], **inputs) for number, name in enumerate(names)]
    return flow(f"chain-{length}", *steps)


def fan(width: int, **inputs: Any) -> Document:
    """One step, `width` steps after it, one that joins them; the last counts `2 * width + 1`."""
    middle: Sequence[str] = [f"m{number}" for number in range(width)]
    steps = [step("first"), *(step(name, "first", **inputs) for name in middle), step("last", *middle)]
    return flow(f"fan-{width}", *steps)


def answer(document: Document) -> Document:
    """The output of the finished workflow."""
    counted: dict[str, int] = {}
    for each in document["steps"]:  # each comes after those it waits for
        counted[each["id"]] = 1 + sum(counted[other] for other in each["depends_on"])
    waited_for = {other for each in document["steps"] for other in each["depends_on"]}
    return {name: {"n": n} for name, n in counted.items() if name not in waited_for}
