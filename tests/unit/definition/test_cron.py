"""When a cron expression is due, also where clocks are put forward and back."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from workflow_engine.definition.cron import due_between, last_due, next_due

BERLIN = "Europe/Berlin"  # forward on 2026-03-29 02:00, back on 2026-10-25 03:00


def local(cron: str, zone: str, day: str, count: int) -> list[str]:
    """The first due times of a day and after it, as clocks there show them, with their distance from UTC."""
    after = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)) - timedelta(seconds=1)
    times = due_between(cron, zone, after, after + timedelta(days=9000), count)
    return [t.astimezone(ZoneInfo(zone)).strftime("%d %H:%M %z") for t in times]


def test_a_time_of_day_is_that_of_the_zone() -> None:
    assert local("0 6 * * *", BERLIN, "2026-01-31", 2) == ["31 06:00 +0100", "01 06:00 +0100"]
    assert local("0 6 * * *", BERLIN, "2026-03-28", 2) == ["28 06:00 +0100", "29 06:00 +0200"]
    assert local("0 9 * * 1-5", "America/New_York", "2026-11-27", 2) == ["27 09:00 -0500", "30 09:00 -0500"]


def test_a_time_that_the_clocks_skip_is_as_much_later() -> None:
    assert local("30 2 * * *", BERLIN, "2026-03-28", 3) == ["28 02:30 +0100", "29 03:30 +0200", "30 02:30 +0200"]


def test_a_time_that_the_clocks_repeat_is_due_once_the_first_time() -> None:
    assert local("30 2 * * *", BERLIN, "2026-10-24", 3) == ["24 02:30 +0200", "25 02:30 +0200", "26 02:30 +0100"]


def test_two_times_of_day_that_fall_together_are_due_once() -> None:
    assert local("30 2,3 * * *", BERLIN, "2026-03-29", 2) == ["29 03:30 +0200", "30 02:30 +0200"]


def test_every_hour_is_every_real_hour() -> None:
    assert local("0 * * * *", BERLIN, "2026-03-29", 4) == [
        "29 00:00 +0100", "29 01:00 +0100", "29 03:00 +0200", "29 04:00 +0200",
    ]  # fmt: skip
    assert local("30 * * * *", BERLIN, "2026-10-25", 5) == [
        "25 00:30 +0200", "25 01:30 +0200", "25 02:30 +0200", "25 02:30 +0100", "25 03:30 +0100",
    ]  # fmt: skip
    half_hours = local("*/30 * * * *", BERLIN, "2026-10-25", 9)
    assert half_hours[4:8] == ["25 02:00 +0200", "25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100"]


@pytest.mark.parametrize("zone", [BERLIN, "America/New_York", "Australia/Lord_Howe", "UTC", "Asia/Kolkata"])
@pytest.mark.parametrize("cron", ["*/20 * * * *", "15 */3 * * *", "0 2 * * *", "30 1,2,3 * * *"])
def test_due_times_go_forward_and_do_not_depend_on_where_one_begins(cron: str, zone: str) -> None:
    for day in ("03-07", "03-28", "04-04", "10-03", "10-24", "10-31"):
        begin = datetime.fromisoformat(f"2026-{day}T00:00:00+00:00")
        times = due_between(cron, zone, begin, begin + timedelta(days=2), 100_000)
        assert times == sorted(set(times))
        if cron == "*/20 * * * *" and zone != "Australia/Lord_Howe":  # whose clocks move by half an hour
            assert len(times) == 2 * 72
        for before, after in zip(times[::7], times[1::7], strict=False):
            assert next_due(cron, zone, before) == after
            assert next_due(cron, zone, after - timedelta(seconds=1)) == after


def test_an_expression_that_is_never_due_has_no_next_time() -> None:
    assert next_due("0 0 30 2 *", "UTC", datetime(2026, 1, 1, tzinfo=UTC)) is None


def test_the_29th_of_february_is_found() -> None:
    assert next_due("0 0 29 2 *", "UTC", datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2028, 2, 29, tzinfo=UTC)


def test_the_last_due_times_are_found_however_long_ago_the_first_was() -> None:
    until = datetime(2026, 6, 1, 12, 0, 30, tzinfo=UTC)
    assert last_due("* * * * *", "UTC", until - timedelta(days=2000), until, 2) == [
        datetime(2026, 6, 1, 11, 59, tzinfo=UTC),
        datetime(2026, 6, 1, 12, 0, tzinfo=UTC),
    ]
    assert last_due("0 0 1 1 *", "UTC", datetime(2024, 1, 1, tzinfo=UTC), until, 9) == [
        datetime(year, 1, 1, tzinfo=UTC) for year in (2024, 2025, 2026)
    ]
    assert last_due("0 6 * * *", "UTC", until + timedelta(hours=1), until, 9) == []
