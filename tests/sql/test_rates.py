"""Limits with a rate: in no span of that length are more units spent, whoever spends them and however many at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from .engine import Engine, rated


def started(engine: Engine, count: int, name: str = "flow", **fields: int) -> None:
    engine.start_many([{"name": name, **fields}] * count)


def run(engine: Engine) -> int:
    """Run what may run now; how many that were."""
    engine.wake_rated()
    claims = engine.claim()
    engine.finish(*(c.succeeded() for c in claims))
    return len(claims)


def test_so_many_units_are_spent_in_a_span_and_more_when_it_is_over(engine: Engine) -> None:
    engine.define({"a": {"resources": [rated("api", 3, 60)]}})
    started(engine, 8)
    assert [run(engine), run(engine)] == [3, 0]
    engine.set_clock("59 seconds")
    assert run(engine) == 0
    engine.set_clock("62 seconds")
    assert run(engine) == 3
    engine.set_clock("125 seconds")
    assert [run(engine), run(engine)] == [2, 0]


def test_units_come_back_as_they_were_spent(engine: Engine) -> None:
    engine.define({"a": {"resources": [rated("api", 2, 60)]}})
    started(engine, 1)
    assert run(engine) == 1
    engine.set_clock("30 seconds")
    started(engine, 3)
    assert run(engine) == 1
    engine.set_clock("62 seconds")
    assert run(engine) == 1
    engine.set_clock("80 seconds")
    assert run(engine) == 0
    engine.set_clock("92 seconds")
    assert run(engine) == 1


def test_units_are_weighted(engine: Engine) -> None:
    engine.define({"a": {"resources": [rated("api", 10, 60, takes=4)]}})
    engine.define({"a": {"resources": [rated("api", 10, 60, takes=2)]}}, name="small")
    started(engine, 3)
    assert run(engine) == 2
    started(engine, 1, "small")
    assert run(engine) == 0, "who comes fresh does not overtake who needs more"
    started(engine, 1, "small", priority=1)
    assert run(engine) == 1, "but a higher priority does"


def test_an_attempt_that_fails_has_spent_its_units(engine: Engine) -> None:
    engine.define({"a": {"resources": [rated("api", 1, 60)]}})
    started(engine, 1)
    (claim,) = engine.claim()
    engine.finish(claim.retried())
    engine.wake_due()
    assert engine.claim() == []
    engine.set_clock("62 seconds")
    assert run(engine) == 1


def test_steps_with_other_rates_on_one_limit_obey_their_own_and_count_for_all(engine: Engine) -> None:
    engine.define({"a": {"resources": [rated("api", 2, 60)]}}, name="minute")
    engine.define({"a": {"resources": [rated("api", 3, 3600)]}}, name="hour")
    started(engine, 1, "hour")
    started(engine, 1, "minute")
    assert run(engine) == 2
    engine.set_clock("2 minutes")
    started(engine, 2, "minute")
    assert run(engine) == 2
    started(engine, 1, "hour")
    assert run(engine) == 0, "four in this hour"


def test_a_rate_and_a_concurrency_hold_together(engine: Engine) -> None:
    engine.define({"a": {"resources": [rated("api", 3, 60, capacity=2)]}})
    started(engine, 5)
    claims = engine.claim()
    assert len(claims) == 2
    engine.finish(*(c.succeeded() for c in claims))
    assert run(engine) == 1
    engine.set_clock("62 seconds")
    assert run(engine) == 2


def test_one_that_lacks_a_lock_does_not_keep_the_units_from_others(engine: Engine) -> None:
    engine.define({"a": {"locks": ["ledger"]}}, name="holder")
    engine.define({"a": {"resources": [rated("api", 2, 60)], "locks": ["ledger"]}}, name="both")
    engine.define({"a": {"resources": [rated("api", 2, 60)]}})
    engine.start("holder")
    (holder,) = engine.claim()
    engine.start("both")
    assert engine.claim() == []
    started(engine, 2)
    assert engine.claim() == []
    engine.set_clock("1 second")
    assert run(engine) == 2
    engine.finish(holder.released())


def test_the_line_is_woken_when_the_units_are_due_not_before(engine: Engine) -> None:
    engine.define({"a": {"resources": [rated("api", 1, 60)]}})
    started(engine, 3)
    assert run(engine) == 1
    begun: datetime = engine.value("select started_at from workflow.tasks where status = 'succeeded'")
    due: datetime = engine.value("select due_at from workflow.resources where key = 'api'")
    assert timedelta(seconds=60) <= due - begun <= timedelta(seconds=61)
    assert engine.wake_rated() == 0
    engine.set_clock("61 seconds")
    assert engine.wake_rated() == 1, "one, not both"
    assert engine.wake_rated() == 0


def test_many_workers_at_once_never_spend_more_than_the_rate_allows(
    engine: Engine, connect: Callable[[], Engine]
) -> None:
    engine.define({"a": {"resources": [rated("api", 7, 3600)]}})
    started(engine, 60)
    workers = [connect() for _ in range(4)]

    def work(worker: Engine) -> int:
        count = 0
        for _ in range(10):
            claims = worker.claim(want=3)
            worker.finish(*(c.succeeded() for c in claims))
            worker.wake_rated()
            count += len(claims)
        return count

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(work, workers)) == 7


def test_what_was_spent_long_ago_is_forgotten(engine: Engine) -> None:
    engine.define({"a": {"resources": [rated("api", 100, 1)]}})
    for second in range(5):
        engine.set_clock(f"{2 * second} seconds")
        started(engine, 1)
        assert run(engine) == 1
    assert engine.value("select count(*) from workflow.spent_units") == 1
