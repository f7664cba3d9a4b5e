"""The shape of a trial's result in an answer; see `views`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from workflow_engine.api.definition_views import faults
from workflow_engine.testing.result import TrialResult


def trial(result: TrialResult) -> dict[str, Any]:
    return {
        "status": result.status,
        "output": result.output,
        "error": result.error,
        "stopped": result.stopped,
        "waits_for": result.waits_for,
        "tasks": [asdict(task) for task in result.tasks],
        "events": [asdict(event) for event in result.events],
        "emitted": result.emitted,
        "started_at": result.started_at,
        "duration": result.duration,
        "unused": result.unused,
        "warnings": faults(result.warnings),
    }
