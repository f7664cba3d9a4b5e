"""When the tasks of a workflow waited and ran: bars in the percent of its time, drawn by the template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from workflow_engine.dashboard.formats import lasting
from workflow_engine.records import Attempt, Task
from workflow_engine.states import TaskStatus

_LEAST = 0.25  # percent: what took no time is seen, too
_TICKS = 5
_STEPS = (0.001, 0.01, 0.1, 1, 5, 15, 30, 60, 300, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 604_800)
_FAILED = ("failed", "retried", "lost")
_FINAL = ("succeeded", "failed", "skipped", "cancelled")  # what comes after was asked for by somebody


@dataclass(frozen=True, slots=True)
class Bar:
    """A time within a row.

    Attributes:
        kind: `wait` (pending), `backoff`, or how an attempt ended.
        x: Where it begins, in percent.
        width: In percent.
        title: What is said when it is pointed at.
    """

    kind: str
    x: float
    width: float
    title: str


@dataclass(slots=True)
class Row:
    """A task with its attempts."""

    task_id: int
    path: str
    type: str
    bars: list[Bar] = field(default_factory=list)
    ran: float = 0.0  # seconds
    waited: float = 0.0
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Timeline:
    """Attributes:
    rows: In the order in which they began.
    ticks: Where in percent which time is.
    """

    rows: Sequence[Row]
    ticks: Sequence[tuple[float, str]]


def timeline(attempts: Iterable[Attempt], begun: datetime, ended: datetime, tasks: Iterable[Task] = ()) -> Timeline:
    """The attempts of a workflow between two times; what still runs or waits does so to the end.

    Args:
        tasks: Those that may be waiting now.
    """
    whole = max((ended - begun).total_seconds(), 0.001)

    def bar(kind: str, start: datetime, end: datetime, title: str) -> Bar:
        x = min(max((start - begun).total_seconds() / whole * 100, 0.0), 100.0 - _LEAST)
        width = (end - start).total_seconds() / whole * 100
        return Bar(kind, round(x, 3), round(min(max(width, _LEAST), 100.0 - x), 3), title)

    rows: dict[int, Row] = {}
    last: dict[int, datetime] = {}  # when what went on by itself ended
    for attempt in attempts:
        row = rows.setdefault(attempt.task_id, Row(attempt.task_id, attempt.path, attempt.type))
        pending = min(attempt.pending_since or attempt.started_at, attempt.started_at)
        if (before := last.get(attempt.task_id)) and pending > before:
            row.bars.append(bar("backoff", before, pending, f"not due for {_between(before, pending)}"))
        if attempt.started_at > pending:
            row.bars.append(
                bar("wait", pending, attempt.started_at, f"pending for {_between(pending, attempt.started_at)}")
            )
        end = attempt.ended_at or ended
        outcome = attempt.outcome or "running"
        kind = "failed" if outcome in _FAILED else outcome
        by = f" on {attempt.worker}" if attempt.worker else ""
        said = f"attempt {attempt.attempt} {outcome}, {_between(attempt.started_at, end)}{by}"
        row.bars.append(bar(kind, attempt.started_at, max(end, attempt.started_at), said))
        row.ran += (end - attempt.started_at).total_seconds()
        row.waited += (attempt.started_at - pending).total_seconds()
        row.tries = attempt.attempt
        if outcome in _FINAL:
            last.pop(attempt.task_id, None)
        else:
            last[attempt.task_id] = end
    for task in tasks:
        before = last.get(task.id)
        if task.status == TaskStatus.PENDING and task.pending_since is not None:
            row = rows.setdefault(task.id, Row(task.id, task.path, task.type))
            pending = min(max(task.pending_since, before or begun), ended)
            if before and pending > before:
                row.bars.append(bar("backoff", before, pending, f"not due for {_between(before, pending)}"))
            row.bars.append(bar("wait", pending, ended, f"pending for {_between(pending, ended)} so far"))
            row.waited += (ended - pending).total_seconds()
        elif task.status in (TaskStatus.SCHEDULED, TaskStatus.WAITING) and before is not None and before < ended:
            why = "not due" if task.status == TaskStatus.SCHEDULED else "waiting"
            rows[task.id].bars.append(bar("backoff", before, ended, f"{why} for {_between(before, ended)} so far"))
    return Timeline([*rows.values()], _ticks(whole))


def _between(start: datetime, end: datetime) -> str:
    return lasting(max((end - start).total_seconds(), 0.0))


def _ticks(whole: float) -> list[tuple[float, str]]:
    step = next((step for step in _STEPS if whole / step <= _TICKS), 604_800 * max(1, round(whole / 604_800 / _TICKS)))
    return [(round(n * step / whole * 100, 3), lasting(n * step)) for n in range(int(whole / step) + 1)]
