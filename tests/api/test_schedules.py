"""Schedules over REST, and the duty that answers them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from support.eventually import eventually

from workflow_engine.maintenance.schedules import Due, what_is_due
from workflow_engine.records import DueSchedule

NOW = datetime(2026, 1, 31, 12, 0, 30, tzinfo=UTC)


def nightly(**entry: Any) -> dict[str, Any]:
    return {
        "name": "nightly",
        "schedule": [{"cron": "0 6 * * *", "timezone": "Europe/Berlin", **entry}],
        "steps": [{"id": "a", "type": "noop"}],
    }


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def test_a_registered_schedule_is_shown_with_its_next_due_times(api: httpx.Client) -> None:
    api.post("/api/v1/definitions", json=nightly(overlap="queue"))
    (shown,) = api.get("/api/v1/schedules").json()
    assert (
        api.get("/api/v1/schedules/nightly").json()["entries"][0]["cron"] == shown["entries"][0]["cron"] == "0 6 * * *"
    )
    times = [datetime.fromisoformat(time) for time in shown["entries"][0]["next_times"]]
    assert len(times) == 5
    assert all(time > datetime.now(UTC) and time.hour in (4, 5) for time in times)
    assert (shown["name"], shown["version"], shown["paused"]) == ("nightly", 1, False)
    assert api.get("/api/v1/workflows").json() == [], "registering starts nothing"


def test_a_start_with_steps_starts_once_now_and_puts_the_schedule_in_force(api: httpx.Client) -> None:
    assert api.post("/api/v1/workflows", json=nightly()).status_code == 202
    assert len(api.get("/api/v1/workflows").json()) == 1
    assert len(api.get("/api/v1/schedules").json()) == 1
    api.delete("/api/v1/definitions/nightly")
    assert api.get("/api/v1/schedules").json() == []


def test_the_leader_starts_what_is_due_with_its_due_time_as_a_label(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    api.post("/api/v1/definitions", json=nightly(input={"x": 1}))
    eventually(lambda: database.execute("select next_at is not null from workflow.schedules").fetchone() == (True,))
    due = (datetime.now(UTC) - timedelta(days=2)).replace(hour=5, minute=0, second=0, microsecond=0)
    database.execute("update workflow.schedules set next_at = %s", [due])
    eventually(lambda: len(api.get("/api/v1/workflows").json()) == 1)
    (summary,) = api.get("/api/v1/workflows").json()
    shown = api.get(summary["links"]["self"]).json()
    assert shown["input"] == {"x": 1}
    (entry,) = api.get("/api/v1/schedules/nightly").json()["entries"]
    assert (entry["started"], entry["last_workflow_id"], entry["last_error"]) == (1, summary["id"], None)
    assert entry["missed"] >= 1, "of those that were missed the latest is started"
    assert datetime.fromisoformat(shown["labels"]["scheduled_for"]) == datetime.fromisoformat(entry["last_at"])
    assert datetime.fromisoformat(entry["next_times"][0]) > datetime.now(UTC)


def test_a_schedule_can_be_paused_and_resumed(api: httpx.Client) -> None:
    api.post("/api/v1/definitions", json=nightly())
    paused = api.post("/api/v1/schedules/nightly/pause").json()
    assert (paused["paused"], paused["entries"][0]["next_times"]) == (True, [])
    resumed = api.post("/api/v1/schedules/nightly/resume").json()
    assert (resumed["paused"], len(resumed["entries"][0]["next_times"])) == (False, 5)


def test_a_schedule_can_be_run_now(api: httpx.Client) -> None:
    api.post("/api/v1/definitions", json=nightly(input={"x": 1}))
    answer = api.post("/api/v1/schedules/nightly/run")
    assert answer.status_code == 202
    assert api.get(answer.headers["location"]).json()["input"] == {"x": 1}


def test_a_backfill_starts_each_due_time_once(api: httpx.Client) -> None:
    api.post("/api/v1/definitions", json=nightly())
    path = "/api/v1/schedules/nightly/backfill?from=2026-03-28&until=2026-03-31"
    first = api.post(path)
    assert first.status_code == 202
    assert [(one["scheduled_for"], one["existing"]) for one in first.json()] == [
        ("2026-03-28T05:00:00Z", False),
        ("2026-03-29T04:00:00Z", False),
        ("2026-03-30T04:00:00Z", False),
    ]
    again = api.post(path).json()
    assert [(one["id"], one["existing"]) for one in again] == [(one["id"], True) for one in first.json()]
    assert len(api.get("/api/v1/workflows").json()) == 3


def test_a_backfill_is_bounded_and_wants_to_know_from_when(api: httpx.Client) -> None:
    api.post("/api/v1/definitions", json=nightly(cron="* * * * *"))
    for query in ("", "?from=2020-01-01"):
        answer = api.post(f"/api/v1/schedules/nightly/backfill{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-parameter")


@pytest.mark.parametrize("path", ["", "/pause", "/resume", "/run", "/backfill?from=1d"])
def test_what_has_no_schedule_is_told_so(api: httpx.Client, path: str) -> None:
    answer = api.request("POST" if path else "GET", f"/api/v1/schedules/absent{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "schedule-not-found")


def minutes(catchup: str, next_at: datetime | None) -> DueSchedule:
    return DueSchedule("x", 0, "* * * * *", "UTC", "skip", catchup, NOW - timedelta(hours=1), next_at)


@pytest.mark.parametrize(
    ("catchup", "ago", "due", "missed"),
    [
        ("latest", 0, [0], 0),
        ("latest", 1, [1, 0], 0),
        ("latest", 30, [0], 30),
        ("none", 30, [0], 30),
        ("all", 3, [3, 2, 1, 0], 0),
        ("all", 5000, list(range(99, -1, -1)), 0),
    ],
)
def test_what_was_missed_is_for_the_schedule_to_judge(catchup: str, ago: int, due: list[int], missed: int) -> None:
    last = NOW.replace(second=0)
    found = what_is_due(
        minutes(catchup, last - timedelta(minutes=ago)), last + timedelta(seconds=30 if ago != 1 else 0)
    )
    assert found.times == [last - timedelta(minutes=n) for n in due]
    assert found.next_at == last + timedelta(minutes=1)
    assert found.missed == missed


def test_a_schedule_that_was_just_registered_waits_for_its_first_due_time() -> None:
    schedule = DueSchedule("x", 0, "0 6 * * *", "UTC", "skip", "latest", NOW, None)
    assert what_is_due(schedule, NOW) == Due([], datetime(2026, 2, 1, 6, tzinfo=UTC), 0)
