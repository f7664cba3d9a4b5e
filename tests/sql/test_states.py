"""The names in states.py are those that the tables accept."""

import re
from enum import StrEnum

import pytest

from workflow_engine.states import (
    TERMINAL_TASK_STATUSES,
    TERMINAL_WORKFLOW_STATUSES,
    AttemptOutcome,
    TaskStatus,
    WorkerStatus,
    WorkflowStatus,
)

from .engine import Engine


def accepted(engine: Engine, constraint: str) -> set[str]:
    definition = engine.value("select pg_get_constraintdef(oid) from pg_constraint where conname = %s", constraint)
    return set(re.findall(r"'(\w+)'", definition))


@pytest.mark.parametrize(
    ("constraint", "names"),
    [
        ("tasks_status", set(TaskStatus)),
        ("workflows_status", set(WorkflowStatus)),
        ("attempt_history_outcome", set(AttemptOutcome)),
        ("workers_status", set(WorkerStatus) - {WorkerStatus.DEAD}),
    ],
)
def test_names_are_those_the_table_accepts(engine: Engine, constraint: str, names: set[StrEnum]) -> None:
    assert accepted(engine, constraint) == {str(name) for name in names}


@pytest.mark.parametrize(
    ("constraint", "terminal"),
    [("tasks_finished", TERMINAL_TASK_STATUSES), ("workflows_finished", TERMINAL_WORKFLOW_STATUSES)],
)
def test_terminal_statuses_are_those_with_an_end_time(
    engine: Engine, constraint: str, terminal: frozenset[StrEnum]
) -> None:
    assert accepted(engine, constraint) == {str(status) for status in terminal}


def test_dead_is_what_the_view_calls_a_worker_without_heartbeat(engine: Engine) -> None:
    engine.set_clock("31 seconds")  # three intervals of ten seconds, and one
    assert engine.value("select status from workflow.worker_list") == WorkerStatus.DEAD
    engine.heartbeat()
    assert engine.value("select status from workflow.worker_list") == WorkerStatus.ACTIVE
