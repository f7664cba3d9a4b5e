"""What the leader is told to look after.

That nothing which is needed is left out is tried in test_mixed.py: its games end by the duties that are named."""

from .engine import Engine


def concerns(engine: Engine) -> set[str]:
    return engine.concerns(engine.value("select coalesce(pg_sequence_last_value('workflow.event_seq'), 0)"))


def test_nothing_concerns_the_leader_while_workflows_only_run(engine: Engine) -> None:
    engine.define({"a": [], "b": ["a"]})
    engine.start()
    assert concerns(engine) == set()
    engine.finish(engine.claim_one().succeeded())
    engine.finish(engine.claim_one().succeeded())
    assert concerns(engine) == set()
    assert engine.concerns(0) == {"narrator"}


def test_what_waits_for_a_time_concerns_it_and_so_does_a_pause(engine: Engine) -> None:
    engine.define({"a": []})
    engine.start()
    engine.finish(engine.claim_one().retried(delay=60))
    assert concerns(engine) == {"due tasks"}
    engine.pause("30 seconds")
    assert "held tasks" in concerns(engine)


def test_schedules_and_timeouts_concern_it_when_their_time_has_come(engine: Engine) -> None:
    schedule = {"cron": "0 6 * * *", "timezone": "UTC", "overlap": "skip", "catchup": "latest", "input": None}
    engine.define({"a": []}, plan={"schedule": [schedule], "timeout": 60})
    engine.start()
    assert concerns(engine) == {"schedules"}, "its next time has to be worked out"
    engine.value("update workflow.schedules set next_at = workflow.clock() + interval '1 hour' returning 1")
    assert concerns(engine) == set()
    engine.set_clock("61 seconds")
    assert concerns(engine) == {"time limits"}
    engine.set_clock("2 hours")
    assert concerns(engine) == {"schedules", "time limits"}
