"""Statistics of attempts and slow attempts: exact, also of what runs, and at the same cost however many there are."""

from typing import Any

import pytest

from .engine import Engine
from .visits import rows_visited


@pytest.fixture
def database(database_url: str) -> str:
    """A fresh one: tables that once were large are not small again for the planner."""
    return database_url


def stats(engine: Engine, window: str = "1 hour", type: str | None = None, limit: int = 20000) -> dict[str, Any]:
    found: dict[str, Any] = engine.value("select workflow.task_stats(%s::interval, %s, %s)", window, type, limit)
    return found


def slow(engine: Engine, threshold: str = "60 s", window: str = "24 hours", type: str | None = None) -> list[Any]:
    return engine.rows("select * from workflow.slow_tasks(%s::interval, %s::interval, %s)", threshold, window, type)


def end_after(engine: Engine, seconds: float, outcome: str = "succeeded", **fields: Any) -> int:
    """Run one attempt of the workflow's only pending task that takes so long by the engine's clock."""
    claim = engine.claim_one()
    engine.run("update workflow.tasks set started_at = started_at - make_interval(secs => %s) where id = %s",
               seconds, claim.task_id)  # fmt: skip
    completion = {"succeeded": claim.succeeded, "failed": claim.failed, "released": claim.released}[outcome]
    assert engine.finish({**completion(), **fields}) == []
    # And not by the time that this machine took for it meanwhile.
    engine.run("update workflow.attempt_history set started_at = ended_at - make_interval(secs => %s)"
               " where task_id = %s and attempt = %s", seconds, claim.task_id, claim.attempt)  # fmt: skip
    return claim.task_id


def test_without_attempts_every_number_is_zero(engine: Engine) -> None:
    found = stats(engine)
    assert {found[name] for name in ("avg_duration", "p50", "p95", "p99", "max", "count", "running")} == {0}
    assert (found["by_type"], found["window"], found["sampled"], found["covered"]) == ({}, 3600, False, 3600)


def test_mean_and_percentiles_are_those_of_the_attempts_that_came_to_an_end_of_their_own(engine: Engine) -> None:
    engine.define({"a": {"type": "noop"}}, name="quick")
    engine.define({"a": {"type": "http"}}, name="long")
    for seconds in range(1, 11):
        engine.start("quick")
        end_after(engine, seconds)
    engine.start("long")
    end_after(engine, 100, "failed", error={"type": "timeout", "message": "m"})
    engine.start("quick")
    engine.start("long")
    running = engine.claim()
    engine.run("update workflow.tasks set started_at = started_at - interval '40 s' where status = 'running'")

    found = stats(engine)

    assert found["avg_duration"] == pytest.approx((55 + 100) / 11, abs=0.1)
    assert (found["count"], found["succeeded"], found["failed"], found["timed_out"]) == (11, 10, 1, 1)
    assert found["max"] == pytest.approx(100, abs=0.1)
    quick = found["by_type"]["noop"]
    assert [quick[name] for name in ("p50", "p95", "p99")] == pytest.approx([5.5, 9.55, 9.91], abs=0.05)
    assert found["running"] == 2
    assert found["running_so_far"]["p50"] == pytest.approx(40, abs=1)
    assert quick["running"] == found["by_type"]["http"]["running"] == 1
    only = stats(engine, type="http")
    assert (only["count"], list(only["by_type"])) == (1, ["http"])
    engine.finish(*(c.released() for c in running))
    after = stats(engine)
    assert (after["count"], after["running"]) == (11, 0)  # what was released says nothing about the work


def test_attempts_before_the_window_do_not_count(engine: Engine) -> None:
    engine.define({"a": []})
    engine.start()
    end_after(engine, 5)
    engine.set_clock("2 hours")
    assert (stats(engine)["count"], stats(engine, "3 hours")["count"]) == (0, 1)


def test_a_cut_sample_says_so_and_how_far_it_reaches(engine: Engine) -> None:
    engine.define({"a": []})
    for _ in range(5):
        engine.start()
        end_after(engine, 1)
        engine.run("update workflow.attempt_history set started_at = started_at - interval '1 minute',"
                   " ended_at = ended_at - interval '1 minute'")  # fmt: skip
    found = stats(engine, limit=3)
    assert (found["sampled"], found["window"]) == (True, 3600)
    assert found["covered"] == pytest.approx(120, abs=2)
    assert stats(engine, limit=5)["sampled"] is False


def test_of_too_many_attempts_some_of_all_of_the_window_are_looked_at(engine: Engine) -> None:
    engine.define({"a": {"type": "http"}}, name="seldom")
    engine.define({"a": {"type": "noop"}}, name="always")
    engine.start("seldom")
    end_after(engine, 7)
    engine.run("update workflow.attempt_history set started_at = started_at - interval '50 minutes',"
               " ended_at = ended_at - interval '50 minutes'")  # fmt: skip
    engine.start("always")
    task = end_after(engine, 1)
    engine.run(
        "insert into workflow.attempt_history (task_id, attempt, workflow_id, outcome, lease_token,"
        " started_at, ended_at)"
        " select h.task_id, n, h.workflow_id, 'succeeded', gen_random_uuid(), h.started_at - n * interval '1 ms',"
        " h.ended_at - n * interval '1 ms' from workflow.attempt_history h cross join generate_series(2, 1000) n"
        " where h.task_id = %s", task,
    )  # fmt: skip
    found = stats(engine, limit=200)
    assert found["sampled"] is True
    assert found["by_type"]["http"]["max"] == pytest.approx(7, abs=0.1)
    assert 100 <= found["by_type"]["noop"]["count"] <= 104
    engine.run("delete from workflow.attempt_history where attempt > 1")


def test_slow_attempts_come_longest_first_with_those_that_run(engine: Engine) -> None:
    engine.define({"a": {"type": "http"}}, name="long")
    ended = {}
    for seconds in (30, 200, 70):
        engine.start("long")
        ended[seconds] = end_after(engine, seconds)
    engine.run("update workflow.task_types set timeout = 300 where name = 'http'")
    engine.start("long")
    (claim,) = engine.claim()
    engine.set_clock("100 seconds")
    engine.heartbeat([claim])

    found = slow(engine)

    assert [row["task_id"] for row in found] == [ended[200], claim.task_id, ended[70]]
    assert [row["status"] for row in found] == ["succeeded", "running", "succeeded"]
    assert found[1]["duration"] == pytest.approx(100, abs=1)
    assert found[1]["finished_at"] is None
    assert {(row["timeout"], row["timeout_from"], row["type"], row["workflow_name"]) for row in found} == {
        (300, "type", "http", "long")
    }
    assert [row["task_id"] for row in slow(engine, "20 s")][-1] == ended[30]
    assert [row["task_id"] for row in slow(engine, "5 s")][-1] == ended[30]  # by the other way
    assert slow(engine, type="noop") == []
    engine.set_clock("25 hours")
    assert [row["task_id"] for row in slow(engine)] == [claim.task_id]


def test_one_slow_attempt_is_found_among_very_many_at_the_same_cost(engine: Engine) -> None:
    """The index of long attempts has the needle; the statistics look at the newest 20,000."""
    engine.define({"a": []})
    for _ in range(6):  # plans from nearly empty tables are kept
        engine.start()
        end_after(engine, 1)
        stats(engine)
        slow(engine)
    first = engine.value("select min(task_id) from workflow.attempt_history")
    engine.run(
        "insert into workflow.attempt_history (task_id, attempt, workflow_id, outcome, lease_token,"
        " started_at, ended_at)"
        " select %s, 1000 + n, (select workflow_id from workflow.tasks where id = %s), 'succeeded', gen_random_uuid(),"
        " clock_timestamp() - n * interval '3 ms' - case n when 177777 then interval '5 min' else interval '20 ms' end,"
        " clock_timestamp() - n * interval '3 ms' from generate_series(1, 200000) n",
        first, first,
    )  # fmt: skip

    with rows_visited(engine, 200):
        assert [row["attempt"] for row in slow(engine)] == [1000 + 177777]
    with rows_visited(engine, 50_100):
        assert stats(engine)["sampled"] is True
    with rows_visited(engine, 20_100):
        assert engine.rows("select * from workflow.task_failures('noop')") == []
    engine.run("delete from workflow.attempt_history where attempt > 1000")
    engine.run("analyze")


def test_what_goes_wrong_with_a_type_is_counted_by_error(engine: Engine) -> None:
    engine.define({"a": {"type": "noop"}, "b": {"type": "http"}}, fail_fast=False)
    for number in range(3):
        engine.start()
        claims = {claim.raw["step_index"]: claim for claim in engine.claim()}
        kind = "http.503" if number else "timeout"
        engine.finish(claims[1].retried() if number == 2 else claims[1].failed(kind), claims[0].failed("other"))
    found = engine.rows("select error, count, task_id, message from workflow.task_failures('http')")
    assert [(row["error"], row["count"]) for row in found] == [("test.again", 1), ("http.503", 1), ("timeout", 1)]
    assert found[0]["message"] == "Made by a test."
    assert engine.rows("select 1 from workflow.task_failures('http', '1 hour', 0)") == []


def test_attempts_that_were_lost_with_their_worker_are_counted_apart_and_among_what_goes_wrong(
    engine: Engine, other: Engine
) -> None:
    engine.define({"a": {"type": "http"}}, name="deadly")
    engine.define({"a": {"type": "noop"}}, name="harmless")
    for name in ("deadly", "harmless"):
        engine.start(name)
        engine.claim_one()
        other.set_clock("31 seconds")
        other.heartbeat()
        if name == "deadly":
            other.sweep_expired_leases()
            other.finish(*(claim.succeeded() for claim in other.claim()))
    found = stats(other)["by_type"]
    assert [found["http"][name] for name in ("lost", "count", "succeeded", "failed", "retried")] == [1, 1, 1, 0, 0]
    assert found["noop"]["lost"] == 0
    (wrong,) = other.rows("select error, count, message from workflow.task_failures('http')")
    assert (wrong["error"], wrong["count"]) == ("worker_lost", 1)
    assert "stopped renewing its lease" in wrong["message"]
