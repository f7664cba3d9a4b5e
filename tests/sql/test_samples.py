"""How it was: what the leader notes, and what the pages draw of it."""

from .engine import Engine


def test_a_sample_has_what_is_pending_by_queue_and_what_runs(engine: Engine) -> None:
    engine.define({"a": [], "b": []})
    for _ in range(3):
        engine.start()
    engine.claim(2)
    engine.run("select workflow.take_sample()")
    (sample,) = engine.rows("select pending, running, active_workflows, queues from workflow.samples")
    assert sample == {"pending": 4, "running": 2, "active_workflows": 3, "queues": {"default": 4}}


def test_samples_are_kept_for_a_day(engine: Engine) -> None:
    engine.run("select workflow.take_sample()")
    engine.set_clock("23 hours")
    engine.run("select workflow.take_sample()")
    engine.set_clock("25 hours")
    engine.run("select workflow.take_sample()")
    assert engine.value("select count(*) from workflow.samples") == 2


def test_a_stretch_shows_its_highest_backlog_and_how_many_attempts_ended_a_minute(engine: Engine) -> None:
    for second, pending, ended in ((0, 5, 100), (10, 90, 110), (20, 7, 150), (60, 1, 190)):
        engine.run(
            "insert into workflow.samples values ("
            " date_trunc('minute', workflow.clock()) - interval '10 minutes' + make_interval(secs => %s), %s, 1, 2, %s,"
            " jsonb_build_object('default', %s::integer))",
            second,
            pending,
            ended,
            pending,
        )
    whole = engine.rows("select * from workflow.history_of_load('20 minutes', 20000)")
    assert [row["pending"] for row in whole] == [5, 90, 7, 1]
    assert [row["ended_per_minute"] for row in whole] == [None, 60, 240, 60]
    joined = engine.rows("select * from workflow.history_of_load('20 minutes', 1)")
    assert [(row["pending"], row["queues"], row["ended_per_minute"]) for row in joined] == [(90, {"default": 90}, None)]


def test_a_count_that_began_anew_is_no_negative_rate(engine: Engine) -> None:
    for second, ended in ((0, 100), (10, 3)):
        engine.run(
            "insert into workflow.samples"
            " values (workflow.clock() - make_interval(secs => 60 - %s), 0, 0, 0, %s, '{}')",
            second,
            ended,
        )
    rows = engine.rows("select ended_per_minute from workflow.history_of_load('1 hour', 3600)")
    assert [row["ended_per_minute"] for row in rows] == [None, 0]


def test_a_queue_has_its_depth_and_its_longest_wait_over_time(engine: Engine) -> None:
    engine.define({"a": [], "b": {"queue": "gpu"}})
    engine.start()
    engine.set_clock("30 seconds")
    engine.value("select workflow.take_sample()")
    (gpu,) = engine.rows("select pending, oldest_seconds from workflow.history_of_queue('gpu')")
    assert (gpu["pending"], 29 < gpu["oldest_seconds"] < 40) == (1, True)
    (unknown,) = engine.rows("select pending, oldest_seconds from workflow.history_of_queue('none')")
    assert unknown == {"pending": 0, "oldest_seconds": 0}
    engine.set_clock("2 hours")
    assert engine.rows("select 1 from workflow.history_of_queue('gpu')") == []


def test_the_longest_wait_is_that_of_a_task_that_was_woken_long_ago_as_well(engine: Engine) -> None:
    engine.define({"a": []})
    engine.start()
    engine.finish(engine.claim_one().retried(delay=10))
    engine.set_clock("20 seconds")
    engine.wake_due()
    engine.set_clock("50 seconds")
    engine.start()
    engine.run("update workflow.tasks set pending_since = pending_since - interval '9 seconds' where attempt = 0")
    for offset, waited in (("60 seconds", 40), ("70 seconds", 50)):
        engine.set_clock(offset)
        engine.value("select workflow.take_sample()")
        (queue,) = engine.value("select workflow.gauges()")["queues"]
        assert waited - 1 < queue["oldest_pending_seconds"] < waited + 5
    assert engine.rows("select max(oldest_seconds) >= 49 as longest from workflow.history_of_queue('default')") == [
        {"longest": True}
    ]
