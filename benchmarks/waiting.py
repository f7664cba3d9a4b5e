"""What waits: many workflows parked on timers, signals and approvals. They hold nothing and slow nothing down, and
those whose time or signal comes start at once.

Real workers park them and wake them. Turns are measured on a queue of their own, which no worker serves.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from benchmarks import definitions
from benchmarks.growth import register
from benchmarks.profiles import Profile
from benchmarks.report import Figure, Row, Table
from benchmarks.server import Server, workers

_KINDS = ("timer", "signal", "approval")
_QUEUE = "bench-turns"
_CLAIMS = 50
_WARM_UP = 8
_SLOTS = 100
_WOKEN = 1000
_SENT = 200
_LEAD_SECONDS = 15.0
_CONNECTIONS = (
    "select count(*) from pg_stat_activity"
    " where datname = current_database() and starts_with(application_name, 'workflow')"
)


def measure(server: Server, profile: Profile) -> list[Table]:
    with server.engine_database() as empty_url, server.engine_database() as url:
        for database_url in (empty_url, url):
            register(database_url, *definitions.waiting(_QUEUE))
        with _connected(url) as database:
            with workers(url, processes=2, concurrency=_SLOTS):
                began = time.monotonic()
                _park(database, profile.parked)
                parked = Figure(f"parking {profile.parked:,}", "/s", [profile.parked / (time.monotonic() - began)])
                held = _held(database)
                late = _wake_timers(database)
                sent, started = _send_signals(database)
            database.execute("vacuum (analyze)")
            database.execute("checkpoint")
            with _connected(empty_url) as empty:
                before, after = _compare(
                    _Turns(empty, "nothing else"), _Turns(database, f"{profile.parked:,} parked"), profile.turns
                )
    ratio = after.ratio_to(before)
    return [
        Table(
            f"{profile.parked:,} workflows wait: a third for a time, a signal, an approval each",
            [Row(parked), *(Row(figure) for figure in held)],
        ),
        Table(
            f"A turn that completes {_CLAIMS} and claims {_CLAIMS}",
            [Row(before), Row(after, (("x empty", ratio),), goal="<= 1.5 x empty", met=ratio <= 1.5)],
        ),
        Table(
            "What wakes, among them",
            [
                # A poll, and a second for the tasks that are due with it.
                Row(late, goal="<= 2,000 ms", met=max(late.values) <= 2000),
                Row(sent),
                Row(started, goal="<= 1,000 ms", met=max(started.values) <= 1000),
            ],
        ),
    ]


def _connected(url: str) -> psycopg.Connection[dict[str, Any]]:
    return psycopg.connect(url, autocommit=True, row_factory=dict_row)


def _compare(one: _Turns, other: _Turns, repetitions: int) -> tuple[Figure, Figure]:
    """Turn about, so that a slow phase of the machine touches both."""
    for repetition in range(_WARM_UP + repetitions):
        for turns in (one, other):
            turns.measure(counts=repetition >= _WARM_UP)
    return one.figure, other.figure


def _value(database: psycopg.Connection[dict[str, Any]], query: str, *params: Any) -> Any:
    row = database.execute(query.encode(), params).fetchone()
    return None if row is None else next(iter(row.values()))


def _start(database: psycopg.Connection[dict[str, Any]], starts: Sequence[dict[str, Any]]) -> list[str]:
    answer = _value(database, "select workflow.start_many(%s)", Jsonb(list(starts)))
    return [started["id"] for started in answer["started"]]


def _park(database: psycopg.Connection[dict[str, Any]], count: int) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    for begun in range(0, count, 1000):
        _start(
            database,
            [
                {"name": f"bench-{_KINDS[n % len(_KINDS)]}", "input": {"until": tomorrow}}
                for n in range(begun, min(begun + 1000, count))
            ],
        )
    while _value(database, "select count(*) from workflow.tasks where status = 'waiting'") < count:
        time.sleep(0.5)


def _held(database: psycopg.Connection[dict[str, Any]]) -> list[Figure]:
    """What the parked ones hold."""
    return [
        Figure(name, unit, [float(_value(database, query))])
        for name, unit, query in (
            ("tasks that wait", "", "select count(*) from workflow.tasks where status = 'waiting'"),
            ("slots in use", "", "select count(*) from workflow.jobs where status = 'doing'"),
            ("jobs (timers alone have one)", "", "select count(*) from workflow.jobs"),
            ("connections of both workers together", "", _CONNECTIONS),
        )
    ]


def _wake_timers(database: psycopg.Connection[dict[str, Any]]) -> Figure:
    """Many that are due at one moment: by how much each starts later than that."""
    due = datetime.now(UTC) + timedelta(seconds=_LEAD_SECONDS)
    started = _start(database, [{"name": "bench-timer", "input": {"until": due.isoformat()}}] * _WOKEN)
    query = (
        "select extract(epoch from t.started_at - %s) * 1000 as late from workflow.tasks t"
        " where t.workflow_id = any(%s) and t.status = 'succeeded'"
    )
    while len(rows := database.execute(query.encode(), [due, started]).fetchall()) < _WOKEN:
        time.sleep(0.5)
    return Figure(f"{_WOKEN:,} timers due at once: how late they start", "ms", [float(row["late"]) for row in rows])


def _send_signals(database: psycopg.Connection[dict[str, Any]]) -> tuple[Figure, Figure]:
    """Signals to single workflows, one after the other: how long sending takes, and until the task starts again."""
    targets = database.execute("select workflow_id, task_id from workflow.signal_waits").fetchall()
    sent = Figure("sending a signal", "ms")
    started = Figure("from the signal to the start of its task", "ms")
    for target in random.Random(0).sample(targets, _SENT):
        begin = time.perf_counter()
        at = _value(database, "select workflow.signal(%s, 'go') ->> 'at'", target["workflow_id"])
        sent.values.append((time.perf_counter() - begin) * 1000)
        query = (
            "select extract(epoch from t.started_at - %s::timestamptz) * 1000 from workflow.tasks t"
            " where t.id = %s and t.status = 'succeeded'"
        )
        while (took := _value(database, query, at, target["task_id"])) is None:
            time.sleep(0.002)
        started.values.append(float(took))
    return sent, started


class _Turns:
    """A worker played by hand."""

    def __init__(self, database: psycopg.Connection[dict[str, Any]], label: str) -> None:
        self.figure = Figure(label, "ms")
        self._database = database
        queue_worker = _value(database, "select worker_id from procrastinate_register_worker_v1()")
        self._id = _value(
            database,
            "select workflow.register_worker('bench', 'host', 1, '0', %s, '[{\"name\": \"noop\"}]', 100, 3600, %s)",
            [_QUEUE],
            queue_worker,
        )

    def measure(self, *, counts: bool) -> None:
        _start(self._database, [{"name": "bench-turn"}] * 2 * _CLAIMS)
        first, _ = self._turn([], _CLAIMS)
        second, took = self._turn(first, _CLAIMS)
        self._turn(second, 0)
        if counts:
            self.figure.values.append(took)

    def _turn(self, ended: list[dict[str, Any]], want: int) -> tuple[list[dict[str, Any]], float]:
        completions = [
            {**{key: c[key] for key in ("task_id", "attempt", "lease_token")}, "outcome": "succeeded"} for c in ended
        ]
        begin = time.perf_counter()
        answer = _value(
            self._database,
            "select workflow.take_turn(%s, %s, %s, '{noop}', %s, 60)::jsonb",
            self._id,
            Jsonb(completions),
            [_QUEUE],
            want,
        )
        took = (time.perf_counter() - begin) * 1000
        assert (answer["stale"], len(answer["claims"])) == ([], want)
        return answer["claims"], took
