"""How workflows ended, by day and version: noted once, by whoever counts the events."""

from __future__ import annotations

from typing import Any

import pytest
from support import eventually

from .engine import Engine


def note(engine: Engine) -> None:
    eventually(
        lambda: not engine.value("select (workflow.count_events('{1}', p_patience => '0') -> 'behind')::boolean")
    )


def ends(engine: Engine, *names: str, days: int = 7) -> dict[tuple[str, int | None], dict[str, Any]]:
    rows = engine.rows("select * from workflow.recent_ends(%s, %s)", list(names), days)
    return {(row["name"], row["version"]): row for row in rows}


def end(engine: Engine, how: str = "succeeded", *, lasted: str = "0") -> None:
    workflow = engine.start()
    engine.run("update workflow.workflows set created_at = created_at - %s::interval where id = %s", lasted, workflow)
    claim = engine.claim_one()
    engine.finish(getattr(claim, how)())


@pytest.fixture(autouse=True)
def _defined(engine: Engine) -> None:
    engine.define({"a": []})
    engine.define({"a": [], "b": []}, name="other flow")
    note(engine)


def test_ends_are_noted_by_version_and_status_and_once(engine: Engine, other: Engine) -> None:
    end(engine)
    end(engine, "failed")
    engine.define({"a": [], "b": ["a"]})
    engine.cancel(engine.start())
    note(engine)
    note(other)
    found = ends(engine, "flow", "other flow")
    counts = {key: (row["succeeded"], row["failed"], row["cancelled"]) for key, row in found.items()}
    assert counts == {("flow", None): (1, 1, 1), ("flow", 1): (1, 1, 0), ("flow", 2): (0, 0, 1)}
    assert found["flow", 2]["p50"] is None, "none of them succeeded"


def test_a_workflow_that_is_retried_ends_twice(engine: Engine) -> None:
    workflow = engine.start()
    engine.finish(engine.claim_one().failed())
    engine.retry(workflow)
    engine.finish(engine.claim_one().succeeded())
    note(engine)
    row = ends(engine, "flow")["flow", None]
    assert (row["succeeded"], row["failed"]) == (1, 1)


def test_durations_are_those_of_what_succeeded_and_right_to_a_tenth(engine: Engine) -> None:
    for seconds in (10,) * 18 + (100, 5000):
        end(engine, lasted=f"{seconds} seconds")
    end(engine, "failed", lasted="2 days")
    note(engine)
    row = ends(engine, "flow")["flow", None]
    assert row["p50"] == pytest.approx(10, rel=0.1)
    assert row["p95"] == pytest.approx(100, rel=0.1)
    assert ends(engine, "other flow") == {}


def test_it_is_known_since_when_ends_are_counted_where_some_are_missing(engine: Engine) -> None:
    def since(days: int = 7) -> Any:
        return engine.value("select workflow.ends_counted_since(%s)", days)

    def moved(by: str) -> Any:
        return engine.value(
            "update workflow.migrations set applied_at = applied_at + %s::interval where name = '0034_daily_ends'"
            " returning applied_at", by
        )  # fmt: skip

    engine.start()
    assert since() is None, "there was nothing before"
    came = moved("1 year")
    engine.set_clock("1 year")
    assert since() == came
    engine.set_clock("373 days")
    assert (since(), since(30)) == (None, came)
    moved("-1 year")


def test_what_took_no_time_or_a_year_has_a_place_on_the_scale(engine: Engine) -> None:
    for seconds in (0, -3, 0.0005, 31_536_000):
        position = engine.value("select workflow.duration_position(%s)", seconds)
        shown = engine.value("select workflow.duration_at(%s::integer)", position)
        assert shown == pytest.approx(max(seconds, 0.001), rel=0.1)


def test_today_counts_and_the_days_before_it_and_what_is_older_than_a_month_is_forgotten(engine: Engine) -> None:
    for age in (0, 6, 7, 31, 32):
        engine.run(
            "insert into workflow.daily_ends values"
            " ((workflow.clock() at time zone 'utc')::date - %s, 'flow', 1, 'succeeded', 10, 1)",
            age,
        )
    assert ends(engine, "flow")["flow", 1]["succeeded"] == 2
    assert ends(engine, "flow", days=1)["flow", 1]["succeeded"] == 1
    engine.run("select workflow.take_sample()")
    assert engine.value("select count(*) from workflow.daily_ends") == 4
