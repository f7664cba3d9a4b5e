"""Each translated workflow goes as its cases say (examples/translations/)."""

from __future__ import annotations

from typing import Any

import pytest
from support.translations import Case, cases, definitions

from workflow_engine.testing.reading import read_trial
from workflow_engine.testing.result import TrialResult
from workflow_engine.testing.trial import run_trial

CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=[f"{case.definition}: {case.name}" for case in CASES])
async def test_a_translated_workflow_goes_as_its_case_says(case: Case, trials_url: str) -> None:
    trial = read_trial(definitions()[case.definition], case.given)
    result = await run_trial(trials_url, trial)
    assert found(result, case.expect) == expected(case.expect), story(result)


def expected(expect: dict[str, Any]) -> dict[str, Any]:
    """What a case expects, with what all do: it ends, and everything that is given is used."""
    return {"stopped": "waiting" if "waits_for" in expect else None, "unused": [], **expect}


def found(result: TrialResult, expect: dict[str, Any]) -> dict[str, Any]:
    """The result, as far as the case says something about it."""
    statuses = result.statuses
    facts: dict[str, Any] = {
        "status": result.status,
        "output": result.output,
        "error": result.error["type"] if result.error else None,
        "duration": round(result.duration, 3),
        "waits_for": [wait["path"] for wait in result.waits_for],
        "emitted": [letter["name"] for letter in result.emitted],
        "tasks": {path: statuses.get(path) for path in expect.get("tasks", {})},
        "order": ended_in_order(result, expect.get("order", [])),
        "stopped": result.stopped,
        "unused": [name for names in result.unused.values() for name in names],
    }
    return {key: facts[key] for key in expected(expect)}


def ended_in_order(result: TrialResult, paths: list[str]) -> list[str]:
    ended = [event.path for event in result.events if event.path in paths and event.type == "task.succeeded"]
    return [path for path in ended if path is not None]


def story(result: TrialResult) -> str:
    """What a failed test shows."""
    lines = [f"{result.status} {result.error} stopped={result.stopped} waits_for={result.waits_for}"]
    lines += [
        f"  {task.path} ({task.type}) {task.status} #{task.attempt} {task.error or task.output}"
        for task in result.tasks
    ]
    lines += [
        f"    {event.at:%H:%M:%S} {event.type} {event.path or ''} {event.attempt or ''}" for event in result.events
    ]
    return "\n".join(lines)
