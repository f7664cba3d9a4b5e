"""/admin/task-types: which kind of work is slow or fails, what it may take, and what was slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from workflow_engine.access import Scope
from workflow_engine.api import parameters, views
from workflow_engine.api.parameters import Parameter, read_parameters
from workflow_engine.dashboard.actions import Action, Field
from workflow_engine.dashboard.page import Group, Page
from workflow_engine.dashboard.visit import Visit
from workflow_engine.definition.retries import DEFAULT_RETRY_POLICY
from workflow_engine.errors import InputInvalid
from workflow_engine.records import SlowAttempt, TaskType, Worker

NEAR = (0.8, 1.05)
"""A p95 of so much of the timeout is told: the next slow day ends in timeouts. Of more, steps say so themselves."""
FAILING = 0.05
"""A share of failed attempts that is told."""
WINDOWS = (("1h", "1 hour"), ("6h", "6 hours"), ("24h", "1 day"), ("7d", "7 days"))
THRESHOLDS = ("10s", "30s", "60s", "5m", "30m", "2h")
"""The shortest first."""

_AMONG = 10_000  # the newest attempts
_MOST_SLOW = 200  # attempts that are counted
_SLOW_SHOWN = 20
_SECONDS = {"1h": 10.0, "6h": 20.0, "24h": 30.0, "7d": 60.0}  # for which what was read of a window is shown
_SORTS: Mapping[str, tuple[str, Callable[[TypeRow], Any]]] = {
    "slowest": ("Slowest", lambda row: -row.slowness),
    "failing": ("Failing", lambda row: (-row.failed_share, -row.failed)),
    "busiest": ("Busiest", lambda row: -row.busy),
    "name": ("By name", lambda row: ()),
}
PARAMETERS = (parameters.window("1h"), parameters.THRESHOLD)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TypeRow:
    """A task type, as it was in the window.

    Attributes:
        effective: What counts where neither a step nor a retry says otherwise, and who said so.
        stats: See `workflow.task_stats`; empty when no attempt was seen.
        slow: Attempts that took at least the threshold.
        able: Active workers that can run it.
        edit: By the name of the field, what changes it.
    """

    known: TaskType
    effective: Mapping[str, Mapping[str, Any]]
    stats: Mapping[str, Any]
    slow: int
    able: int
    edit: Mapping[str, Action]

    @property
    def slowness(self) -> float:
        """Seconds: of what ended or, if that is longer, of what runs."""
        if not self.stats:
            return -1.0
        return float(max(self.stats["p95"], self.stats["running_so_far"]["p95"]))

    @property
    def ended(self) -> int:
        """Attempts that ended, also those that were lost with their worker."""
        return int(self.stats["count"] + self.stats["lost"]) if self.stats else 0

    @property
    def failed(self) -> int:
        """Attempts that failed or were lost, whether others followed or not."""
        return int(self.stats["failed"] + self.stats["retried"] + self.stats["lost"]) if self.stats else 0

    @property
    def failed_share(self) -> float:
        return self.failed / self.ended if self.ended else 0.0

    @property
    def failed_how(self) -> str:
        """How many failed, and of them by what is told apart."""
        parts = ((self.stats["timed_out"], "timed out"), (self.stats["lost"], "lost"))
        return ", ".join([f"{self.failed:,}", *(f"{count:,} {how}" for count, how in parts if count)])

    @property
    def failed_percent(self) -> str:
        percent = 100 * self.failed_share
        return f"{percent:.0f} %" if percent >= 10 or not percent else f"{percent:.1f} %"

    @property
    def busy(self) -> int:
        return int(self.ended + self.stats["running"]) if self.stats else 0

    @property
    def near(self) -> float | None:
        """Which part of the timeout the p95 is, where that is worth telling."""
        part = float(self.stats["p95"]) / float(self.effective["timeout"]["value"]) if self.stats else 0.0
        return part if NEAR[0] <= part <= NEAR[1] else None


async def read(visit: Visit) -> Mapping[str, Any]:
    fault, values, window, threshold = read_values(visit, (*PARAMETERS, _SORT))
    stats = await read_stats(visit, window, values["window"])
    slow = await read_slow(visit, window, values["window"], threshold, values["threshold"])
    workers = await visit.store.workers.list()
    by_type = Counter(attempt.type for attempt in slow)
    rows = [
        row_of(visit, known, stats["by_type"].get(known.name, {}), by_type[known.name], workers)
        for known in await visit.store.task_types.list()
    ]
    return {
        "fault": fault,
        "status": 200 if fault is None else 422,
        "ran": sorted((row for row in rows if row.stats), key=_SORTS[values["sort"]][1]),
        "others": [row for row in rows if not row.stats],
        "stats": stats,
        "among": _AMONG,
        "slow": slow[:_SLOW_SHOWN],
        "slow_count": len(slow),
        "most_slow": _MOST_SLOW,
        "sorts": [
            (title, visit.here(sort=None if key == "slowest" else key), values["sort"] == key)
            for key, (title, _) in _SORTS.items()
        ],
        "sort": values["sort"],
        "failing": FAILING,
        **choices(visit, window, threshold),
    }


def read_values(visit: Visit, known: Sequence[Parameter]) -> tuple[InputInvalid | None, Mapping[str, Any], str, str]:
    """What is wrong with the parameters; their values, and what the window and the threshold are called.

    If anything is wrong all are the defaults: what was read is kept for others by what it is called.
    """
    try:
        values = read_parameters(visit.request, known)
    except InputInvalid as error:
        return error, {parameter.name: parameter.default for parameter in known}, "1h", "60s"
    return None, values, visit.asked("window", "1h"), visit.asked("threshold", "60s")


def choices(visit: Visit, window: str, threshold: str) -> Mapping[str, Any]:
    """How far back is looked, and what counts as slow: what both pages let choose."""
    return {
        "window": window,
        "windows": [
            (title, visit.here(window=None if value == "1h" else value), window == value) for value, title in WINDOWS
        ],
        "threshold": threshold,
        "thresholds": THRESHOLDS,
        "no_slow": _no_slow(window, threshold),
        "default_timeout": visit.settings.task_timeout,
    }


def _no_slow(window: str, threshold: str) -> tuple[str, str]:
    """What is said where no attempt was slow, and what could be tried next: only what is not tried already."""
    shorter = threshold in THRESHOLDS[1:]
    further = window in [value for value, _ in WINDOWS[:-1]]
    when = next((title for value, title in WINDOWS if value == window), window)
    if shorter or further:
        ways = ["choose a shorter time"] * shorter + ["look further back"] * further
        hint = f"To see more, {' or '.join(ways)}."
    else:
        hint = "All attempts were shorter than that."
    return f"No attempt took {threshold} or longer in the last {when.removeprefix('1 ')}", hint


async def read_stats(visit: Visit, window: str, seconds: float) -> Mapping[str, Any]:
    """How long attempts took. What everybody looks at is read once for all of them."""

    async def look() -> Mapping[str, Any]:
        return await visit.store.task_durations.stats(window=seconds, among=_AMONG)

    return await kept_of(visit, "task stats", window, look)


async def read_slow(
    visit: Visit,
    window: str,
    seconds: float,
    threshold: str,
    least: float,
    *,
    type: str | None = None,
    most: int = _MOST_SLOW,
) -> Sequence[SlowAttempt]:
    """Attempts of at least `least` seconds, longest first."""

    async def look() -> Sequence[SlowAttempt]:
        return await visit.store.task_durations.slow(threshold=least, window=seconds, type=type, limit=most)

    return (
        await kept_of(visit, f"slow {type or '*'} {threshold}", window, look)
        if threshold in THRESHOLDS
        else await look()
    )


async def kept_of(visit: Visit, name: str, window: str, look: Callable[[], Awaitable[T]]) -> T:
    """What was read of a window that the page offers is shown for a while; of another one nothing is kept."""
    return await visit.glance.kept(f"{name} {window}", _SECONDS[window], look) if window in _SECONDS else await look()


def row_of(visit: Visit, known: TaskType, stats: Mapping[str, Any], slow: int, workers: Sequence[Worker]) -> TypeRow:
    effective = views.task_type(known, visit.settings.task_timeout, DEFAULT_RETRY_POLICY.max_attempts)["effective"]
    able = sum(1 for worker in workers if worker.status == "active" and known.name in worker.task_types)
    return TypeRow(known, effective, stats, slow, able, {field.name: _edit(known, field) for field in _fields(known)})


def _edit(known: TaskType, field: Field) -> Action:
    return Action(
        "Change",
        f"/task-types/{known.name}",
        Scope.ENGINE_CONTROL,
        f"{field.label} of {known.name} changed."
        + (
            " The next attempt uses it, also those of tasks that are already pending."
            if field.name != "description"
            else ""
        ),
        fields=(field,),
        method="PATCH",
        if_match=known.tag,
    )


def _fields(known: TaskType) -> Sequence[Field]:
    return (
        Field(
            "timeout",
            "Timeout",
            kind="duration",
            value="" if known.timeout is None else f"{known.timeout:g}s",
            help="Of one attempt. Leave empty to use what the handler asks for, or the default.",
            hint="90s, 5m, 1h30m; a number is seconds",
            blank="null",
        ),
        Field(
            "max_attempts",
            "Tries",
            kind="number",
            value="" if known.max_attempts is None else str(known.max_attempts),
            help="In all, including the first. Leave empty to use what the handler asks for, or the default.",
            blank="null",
        ),
        Field("description", "Description", value=known.description, blank="null"),
    )


def _known_sort(text: str) -> str:
    if text not in _SORTS:
        raise ValueError(f"write {', '.join(_SORTS)}")
    return text


_SORT = Parameter("sort", _known_sort, "slowest", {}, "The order of the rows.", "name")


PAGE = Page("/admin/task-types", "task_types.html", read, Scope.ENGINE_READ, "Task types", "t", Group.CAPACITY)
