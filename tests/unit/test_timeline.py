"""The bars of a workflow's timeline, and the lines of the overview."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_engine.dashboard.charts import chart
from workflow_engine.dashboard.timeline import timeline
from workflow_engine.records import Attempt, Task

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGUN + timedelta(seconds=seconds)


def attempt(  # noqa: PLR0917
    task: int, number: int, pending: float, start: float, end: float | None, outcome: str | None
) -> Attempt:
    ended = None if end is None else at(end)
    name = f"s{task}"
    return Attempt(
        task, name, name, "http", number, outcome, "w-1", at(pending), at(start), ended, None, "default", None
    )


def test_waiting_backoff_and_running_are_told_apart() -> None:
    drawn = timeline(
        [attempt(1, 1, 0, 10, 20, "retried"), attempt(1, 2, 50, 60, None, None)], begun=BEGUN, ended=at(100)
    )
    (row,) = drawn.rows
    assert [(bar.kind, bar.x, bar.width) for bar in row.bars] == [
        ("wait", 0, 10),
        ("failed", 10, 10),
        ("backoff", 20, 30),
        ("wait", 50, 10),
        ("running", 60, 40),
    ]
    assert (row.waited, row.ran, row.tries) == (20, 50, 2)
    assert row.bars[1].title == "attempt 1 retried, 10 s on w-1"


def task(number: int, status: str, pending: float | None) -> Task:
    """One that has not ended."""
    since = None if pending is None else at(pending)
    return Task(
        number, UUID(int=7), f"s{number}", f"s{number}", "http", status, 1, "default", None, None, since, *[None] * 7,
        "", None,
    )  # fmt: skip


def test_what_waits_now_waits_to_the_end() -> None:
    attempts = [attempt(1, 1, 0, 0, 20, "retried"), attempt(2, 1, 0, 0, 40, "retried")]
    tasks = [task(1, "pending", 50), task(2, "scheduled", None), task(3, "pending", 90), task(4, "blocked", None)]
    drawn = timeline(attempts, begun=BEGUN, ended=at(100), tasks=tasks)
    assert [(row.task_id, [(bar.kind, bar.x, bar.width) for bar in row.bars], row.waited) for row in drawn.rows] == [
        (1, [("failed", 0, 20), ("backoff", 20, 30), ("wait", 50, 50)], 50),
        (2, [("failed", 0, 40), ("backoff", 40, 60)], 0),
        (3, [("wait", 90, 10)], 10),
    ]
    assert drawn.rows[2].bars[0].title == "pending for 10 s so far"


def test_between_a_failure_and_a_retry_nothing_waited() -> None:
    drawn = timeline([attempt(1, 1, 0, 0, 20, "failed"), attempt(1, 2, 50, 50, 60, "succeeded")], BEGUN, at(100))
    assert [(bar.kind, bar.x, bar.width) for bar in drawn.rows[0].bars] == [("failed", 0, 20), ("succeeded", 50, 10)]


def test_times_are_marked_at_round_distances() -> None:
    drawn = timeline([attempt(1, 1, 0, 0, 100, "succeeded")], begun=BEGUN, ended=at(100))
    assert drawn.ticks == [(0, "0 s"), (30, "30 s"), (60, "1 m"), (90, "1 m 30 s")]


@given(
    st.lists(st.tuples(st.integers(1, 4), *[st.floats(-50, 5000)] * 3), max_size=30),
    st.floats(0, 5000),
)
def test_no_bar_leaves_its_row_or_is_too_small_to_see(
    given: list[tuple[int, float, float, float]], whole: float
) -> None:
    attempts = [
        attempt(task, number, pending, start, start + abs(more), "failed")
        for number, (task, pending, start, more) in enumerate(given)
    ]
    drawn = timeline(attempts, begun=BEGUN, ended=at(whole))
    for row in drawn.rows:
        for bar in row.bars:
            assert 0 <= bar.x < 100
            assert 0.2 < bar.width <= 100.001 - bar.x
    assert len(drawn.ticks) <= 12


def test_a_line_ends_at_now_and_shows_a_limit_that_is_near() -> None:
    points = [(at(0), 0.0), (at(1800), 50.0), (at(3600), 100.0)]
    drawn = chart(points, timedelta(hours=1), at(3600), limit=100)
    assert drawn is not None
    assert [float(point.split(",")[0]) for point in drawn.lines[0].split()] == [0, 50, 100]
    assert drawn.limit == pytest.approx(float(drawn.lines[0].split()[-1].split(",")[1]))
    assert (drawn.highest, drawn.last) == (100, 100)
    far = chart(points, timedelta(hours=1), at(3600), limit=1000)
    assert far is not None
    assert far.limit is None


def test_a_time_when_nobody_looked_has_no_line() -> None:
    points = [(at(second), 5.0) for second in (*range(0, 600, 30), *range(1800, 2400, 30))]
    drawn = chart(points, timedelta(hours=1), at(2400))
    assert drawn is not None
    assert [len(line.split()) for line in drawn.lines] == [20, 20]
    assert [area.split()[-1].split(",") for area in drawn.areas] == [["49.17", "100"], ["99.17", "100"]]


def test_of_one_point_there_is_no_line() -> None:
    assert chart([(at(0), 1.0), (at(1), None)], timedelta(hours=1), at(2)) is None
