"""Alerts without Prometheus: what is measured, since when a condition holds, and what engines tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from .engine import Engine
from .visits import OF_ALL_PARTITIONS


def measures(engine: Engine) -> dict[str, Any]:
    found: dict[str, Any] = engine.value("select workflow.alert_measures()")
    return found


def condition(name: str, subject: str = "", *, value: float = 1, seconds: float = 0, age: float = 0) -> dict[str, Any]:
    return {
        "name": name, "subject": subject, "severity": "warning", "value": value, "threshold": 0, "seconds": seconds,
        "age_seconds": age,
    }  # fmt: skip


def keep(engine: Engine, *holding: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What fires now, and what is over."""
    told = engine.value("select workflow.keep_alerts(%s, '{}')", Jsonb(holding))
    fired, cleared = ([one["name"] for one in told[kind]] for kind in ("fired", "cleared"))
    return fired, cleared


def states(engine: Engine) -> dict[str, str]:
    return {row["name"]: row["state"] for row in engine.rows("select name, state from workflow.alert_list order by id")}


def note(engine: Engine, id: int | None = None, *, incidents: dict[str, int] | None = None, **facts: Any) -> int:
    noted: int = engine.value(
        "select workflow.note_engine(%s, 'host', 7, '1', %s, %s)", id, Jsonb(facts), Jsonb(incidents or {})
    )
    return noted


def test_an_alert_fires_when_its_condition_has_held_for_long_enough_and_is_told_once(engine: Engine) -> None:
    backlog = condition("Backlog", seconds=600)
    assert keep(engine, backlog) == ([], [])
    assert states(engine) == {"Backlog": "pending"}
    engine.set_clock("599 seconds")
    assert keep(engine, backlog) == ([], [])
    engine.set_clock("601 seconds")
    assert states(engine) == {"Backlog": "firing"}
    assert keep(engine, {**backlog, "value": 7}) == (["Backlog"], [])
    assert keep(engine, backlog) == ([], [])
    engine.set_clock("700 seconds")
    assert keep(engine) == ([], ["Backlog"])
    assert keep(engine) == ([], [])
    assert states(engine) == {"Backlog": "ended"}


def test_a_condition_that_was_away_for_a_moment_begins_anew_and_what_never_fired_is_forgotten(engine: Engine) -> None:
    backlog = condition("Backlog", seconds=600)
    keep(engine, backlog)
    engine.set_clock("500 seconds")
    keep(engine)
    assert states(engine) == {}
    keep(engine, backlog)
    engine.set_clock("700 seconds")
    keep(engine, backlog)
    assert states(engine) == {"Backlog": "pending"}


def test_since_when_it_holds_stays_whoever_looks(engine: Engine, other: Engine) -> None:
    backlog = condition("Backlog", seconds=600)
    keep(engine, backlog)
    since = engine.value("select since from workflow.alerts")
    other.set_clock("20 seconds")
    keep(other, backlog)
    assert other.value("select since from workflow.alerts") == since


def test_since_when_is_taken_from_the_thing_itself_where_that_is_known(engine: Engine) -> None:
    assert keep(engine, condition("Paused", seconds=1800, age=1801)) == (["Paused"], [])
    assert engine.value("select workflow.clock() - since > interval '30 minutes' from workflow.alerts")


def test_an_alert_is_about_one_queue_and_another_of_the_same_name_about_another(engine: Engine) -> None:
    keep(engine, condition("Unserved", "gpu"), condition("Unserved", "cpu"))
    assert keep(engine, condition("Unserved", "gpu")) == ([], ["Unserved"])
    assert engine.rows("select subject from workflow.alert_list where ended_at is null") == [{"subject": "gpu"}]


def test_a_rule_that_a_new_version_has_wait_longer_waits_longer(engine: Engine) -> None:
    keep(engine, condition("Backlog", seconds=60))
    keep(engine, condition("Backlog", seconds=600))
    assert engine.value("select extract(epoch from fires_at - since)::integer from workflow.alerts") == 600


def test_what_fired_and_is_over_is_kept_for_a_week(engine: Engine) -> None:
    keep(engine, condition("Backlog"))
    keep(engine)
    engine.set_clock("6 days")
    keep(engine)
    assert states(engine) == {"Backlog": "ended"}
    engine.set_clock("8 days")
    keep(engine)
    assert states(engine) == {}


def test_two_leaders_note_one_alert(engine: Engine, other: Engine, blocked: Callable[..., Any]) -> None:
    with engine.transaction():
        keep(engine, condition("Backlog"))
        second = blocked(other, lambda: keep(other, condition("Backlog")))
    assert second.result() == ([], [])
    assert engine.value("select count(*) from workflow.alerts") == 1


def test_what_is_pending_is_measured_and_who_serves_it(engine: Engine) -> None:
    engine.define({"a": [], "b": {"queue": "gpu"}})
    for _ in range(3):
        engine.start()
    engine.claim(2)  # registers a worker of the queue default
    found = measures(engine)
    assert found["pending"] == 4
    assert found["workers_active"] == 1
    assert found["unserved"] == {"gpu": 3}
    assert found["orphaned"] == 0
    assert "paused_seconds" not in found
    engine.set_clock("2 hours")
    assert measures(engine)["workers_active"] == 0
    engine.set_clock("0")


def test_what_is_not_known_is_left_out(engine: Engine) -> None:
    found = measures(engine)
    unknown = {
        "unserved", "paused_seconds", "attempt_seconds", "ended_per_minute", "failed_share",
        "mirror_excess", "mirror_seconds", "workers_full", "schedules_refused", "active_per_engine",
        "loop_lag_seconds", "api_errors_ago",
    }  # fmt: skip
    assert not unknown & found.keys()
    assert found["engines"] == 0


def test_how_long_the_engine_is_paused(engine: Engine) -> None:
    engine.value("select workflow.pause()")
    engine.set_clock("31 minutes")
    assert measures(engine)["paused_seconds"] >= 31 * 60
    engine.value("select workflow.resume()")
    assert "paused_seconds" not in measures(engine)
    engine.value("select workflow.pause('1 minute')")
    engine.set_clock("40 minutes")
    assert "paused_seconds" not in measures(engine), "it has ended by itself"


def test_how_long_attempts_take(engine: Engine) -> None:
    engine.define({"a": []})
    engine.start()
    claim = engine.claim_one()
    engine.set_clock("400 seconds")
    engine.turn([claim.succeeded()])
    assert 400 <= measures(engine)["attempt_seconds"] < 410
    engine.set_clock("30 minutes")
    assert "attempt_seconds" not in measures(engine)


def test_which_share_of_workflows_fails_is_counted_from_what_the_metrics_count(engine: Engine) -> None:
    engine.run("update workflow.counted_events set ended = 100, failed = 50")
    engine.run("select workflow.take_sample()")
    engine.run("update workflow.counted_events set ended = 120, failed = 55")
    found = measures(engine)
    assert (found["workflows_ended"], found["failed_share"]) == (20, 0.25)
    engine.set_clock("2 hours")
    assert "failed_share" not in measures(engine)


def test_counting_events_counts_ends_that_nobody_cancelled(engine: Engine) -> None:
    engine.define({"a": []})
    for outcome in ("succeeded", "failed"):
        engine.start()
        claim = engine.claim_one()
        engine.turn([getattr(claim, outcome)()])
    engine.cancel(engine.start())
    before = engine.rows("select ended, failed from workflow.counted_events")[0]
    while engine.value("select workflow.count_events('{1}', p_patience => '0')")["behind"]:
        pass
    after = engine.rows("select ended, failed from workflow.counted_events")[0]
    assert after["ended"] - before["ended"] >= 2
    assert after["failed"] - before["failed"] >= 1


def test_how_many_attempts_end_a_minute_is_known_from_a_minute_on(engine: Engine) -> None:
    for ago, ended in ((280, 100), (100, 106)):
        engine.run(
            "insert into workflow.samples (at, pending, running, active_workflows, attempts_ended, queues)"
            " values (workflow.clock() - make_interval(secs => %s), 0, 0, 0, %s, '{}')",
            ago,
            ended,
        )
    assert measures(engine)["ended_per_minute"] == pytest.approx(2, rel=0.01)
    engine.run("delete from workflow.samples where attempts_ended = 100")
    assert "ended_per_minute" not in measures(engine)


def test_workers_that_died_are_counted_and_those_that_said_goodbye_are_not(engine: Engine) -> None:
    engine.define({"a": []})
    engine.claim()
    engine.set_clock("5 minutes")
    assert measures(engine)["workers_died"] == 1
    engine.run("update workflow.workers set status = 'stopped', stopped_at = workflow.clock()")
    assert measures(engine)["workers_died"] == 0


def test_an_engine_is_there_until_it_says_goodbye_or_is_not_heard_of(engine: Engine) -> None:
    first = note(engine, leads=True, lag_seconds=0.1, default_rows=0, invariant_violations=2, mirror_seconds=1)
    assert note(engine, first, leads=True, lag_seconds=0.2, invariant_violations=2, mirror_seconds=1) == first
    second = note(engine, leads=False, lag_seconds=1.5)
    found = measures(engine)
    assert (found["engines"], found["loop_lag_seconds"], found["invariant_violations"]) == (2, 1.5, 2)
    assert found["active_per_engine"] == 0
    assert 1 <= found["mirror_seconds"] < 10
    listed = engine.rows("select id, status, leads from workflow.engine_list order by id")
    assert listed == [
        {"id": first, "status": "active", "leads": True},
        {"id": second, "status": "active", "leads": False},
    ]
    engine.run("select workflow.forget_engine(%s)", second)
    engine.set_clock("40 seconds")
    assert engine.rows("select id, status from workflow.engine_list") == [{"id": first, "status": "dead"}]
    assert measures(engine)["engines"] == 0
    engine.set_clock("25 hours")
    third = note(engine, first + 1000)  # it was forgotten, and comes back
    assert engine.rows("select id from workflow.engine_list") == [{"id": third}]


def test_what_an_engine_met_is_known_when_it_is_gone(engine: Engine) -> None:
    id = note(engine, incidents={"api_errors": 2})
    note(engine, id, incidents={"api_errors": 1})
    engine.run("select workflow.forget_engine(%s)", id)
    engine.set_clock("100 seconds")
    assert 100 <= measures(engine)["api_errors_ago"] < 110
    assert engine.value("select times from workflow.incidents") == 3


def test_how_far_the_list_in_redis_is_off(engine: Engine) -> None:
    engine.define({"a": []})
    for _ in range(5):
        engine.start()
    note(engine, leads=True, mirror_length=105, mirror_seconds=0)
    engine.run("select workflow.take_sample()")
    assert engine.value("select mirror_excess from workflow.samples") == 100
    assert measures(engine)["mirror_excess"] == 100
    engine.run("update workflow.samples set pending = 5000")
    assert "mirror_excess" not in measures(engine), "of a large queue a tenth"


def test_deliveries_that_were_given_up_lately(engine: Engine) -> None:
    engine.run(
        "insert into workflow.outbox (id, workflow_id, task_id, name, kind, status, created_at, due_at)"
        " select workflow.new_id(), workflow.new_id(), 1, 'n', 'webhook', s.status, workflow.clock(), workflow.clock()"
        " from (values ('dead'), ('dead'), ('delivered')) s(status)"
    )
    assert measures(engine)["given_up"] == 2
    engine.set_clock("61 minutes")
    assert measures(engine)["given_up"] == 0


def test_measuring_visits_what_is_new_however_much_has_ended(engine: Engine) -> None:
    visited = (
        "select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_xact_all_tables"
        f" where {OF_ALL_PARTITIONS} = any('{{attempt_history,outbox,samples,workflows,tasks,jobs}}')"
    )
    for _ in range(6):  # plans are kept
        measures(engine)
    with engine.transaction():
        engine.run(
            "insert into workflow.attempt_history"
            " (workflow_id, task_id, attempt, lease_token, outcome, started_at, ended_at)"
            " select workflow.id_at(workflow.clock()), i, 1, gen_random_uuid(), 'succeeded',"
            "        workflow.clock() - interval '1 day',"
            "        workflow.clock() - make_interval(secs => i) from generate_series(1, 50000) i"
        )
        engine.run(
            "insert into workflow.outbox (id, workflow_id, task_id, name, kind, status, created_at, due_at)"
            " select workflow.new_id(), workflow.new_id(), 1, 'n', 'webhook', 'dead', c.now, c.now"
            " from (select workflow.clock() as now) c, generate_series(1, 1500)"
        )
        before = engine.value(visited)
        assert measures(engine)["given_up"] == 1000
        assert engine.value(visited) - before < 9000
        raise psycopg.Rollback


def test_where_the_audit_log_has_a_time_is_found_without_reading_it(engine: Engine) -> None:
    with engine.transaction():
        engine.run("select set_config('workflow.audit_sweep', 'on', true)")
        engine.run("delete from workflow.audit")
        engine.run(
            "insert into workflow.audit (at, method, path, operation)"
            " select workflow.clock() - make_interval(mins => 20000 - i), 'POST', '/', 'x'"
            " from generate_series(1, 20000) i"
        )
        first = engine.value("select min(id) from workflow.audit")
        visited = (
            "select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_xact_all_tables"
            " where relname = 'audit'"
        )
        before = engine.value(visited)
        for hours in (1, 100, 300):
            found = engine.value("select workflow.audit_id_at(workflow.clock() - make_interval(hours => %s))", hours)
            kept = engine.value("select count(*) from workflow.audit where id >= %s and id < %s + 3", found, found)
            assert kept == 3
            assert abs(found - first - (20000 - 60 * hours)) < 5
        assert engine.value("select workflow.audit_id_at(workflow.clock() - interval '1 year')") == first
        assert engine.value("select workflow.audit_id_at(workflow.clock() + interval '1 year')") == first + 20000
        assert engine.value(visited) - before < 200
        raise psycopg.Rollback
