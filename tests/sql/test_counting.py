"""Events are counted for the metrics: each once, whoever counts, whenever its transaction commits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from support import eventually

from .engine import Engine

BOUNDS = (0.5, 10.0, 100.0)


class Counts:
    """What was counted by all calls of one test, together."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.started: Counter[str | None] = Counter()
        self.ended: Counter[tuple[str | None, str, int]] = Counter()
        self.retries: Counter[str] = Counter()
        eventually(lambda: not count(engine)["behind"])  # what other tests left

    def add(self, engine: Engine | None = None, **options: Any) -> bool:
        """Count once; whether there is more."""
        found = count(engine or self.engine, **options)
        self.started.update(dict(map(tuple, found["started"])))
        for name, state, position, n, _ in found["ended"]:
            self.ended[name, state, position] += n
        self.retries.update(found["retries"])
        behind: bool = found["behind"]
        return behind

    def all(self, engine: Engine | None = None) -> Counts:
        eventually(lambda: not self.add(engine))
        return self


def count(
    engine: Engine, bounds: Sequence[float] = BOUNDS, *, most: int = 50_000, patience: str = "1 minute"
) -> dict[str, Any]:
    found: dict[str, Any] = engine.value(
        "select workflow.count_events(%s::float8[], %s, %s::interval)", list(bounds), most, patience
    )
    return found


@pytest.fixture
def counts(engine: Engine) -> Counts:
    engine.define({"a": []})
    engine.define({"a": []}, name="other flow")
    return Counts(engine)


def test_starts_and_ends_are_counted_by_definition_and_state_and_once(counts: Counts, other: Engine) -> None:
    engine = counts.engine
    engine.start_many([{"name": "flow"}] * 3 + [{"name": "other flow"}])
    claims = engine.claim()
    engine.finish(*(claim.succeeded() for claim in claims[:2]), claims[2].failed())
    engine.cancel(claims[3].workflow)
    counts.all()
    assert counts.started == {"flow": 3, "other flow": 1}
    ended = Counter[str]()
    for (_, state, _), n in counts.ended.items():  # workflows that began together may be claimed in any order
        ended[state] += n
    assert ended == {"succeeded": 2, "failed": 1, "cancelled": 1}
    assert all(position == 0 for _, _, position in counts.ended), "they took less than the first bound"
    before = counts.ended.copy()
    assert counts.all(other).ended == before


def test_a_duration_is_counted_at_the_first_bound_that_it_does_not_exceed(counts: Counts) -> None:
    engine = counts.engine
    for age in ("0", "1 second", "50 seconds", "2 hours"):
        workflow = engine.start()
        engine.run("update workflow.workflows set created_at = created_at - %s::interval where id = %s", age, workflow)
        engine.finish(engine.claim_one().succeeded())
    found = counts.all().ended
    assert {position: n for (_, _, position), n in found.items()} == {0: 1, 1: 1, 2: 1, 3: 1}


def test_the_next_tries_of_tasks_and_the_retries_that_somebody_asks_for_are_counted_apart(counts: Counts) -> None:
    engine = counts.engine
    workflow = engine.start()
    engine.finish(engine.claim_one().retried())
    engine.wake_due()
    engine.finish(engine.claim_one().failed())
    engine.retry(workflow)
    engine.finish(engine.claim_one().succeeded())
    counts.all()
    assert counts.retries == {"automatic": 1, "manual": 1}
    assert counts.started == {"flow": 1}
    assert {state: n for (_, state, _), n in counts.ended.items()} == {"failed": 1, "succeeded": 1}


def test_what_commits_late_is_waited_for_and_counted(counts: Counts, other: Engine) -> None:
    engine = counts.engine
    with other.transaction():
        other.start()
        engine.start("other flow")  # its events have higher numbers and are there before
        assert counts.add()
        assert counts.add(), "it waits for the transaction"
        assert counts.started == {}
    assert counts.all().started == {"flow": 1, "other flow": 1}


def test_a_transaction_that_stays_open_for_long_is_not_waited_for(counts: Counts, other: Engine) -> None:
    engine = counts.engine
    with other.transaction():
        other.start()
        engine.start("other flow")
        counts.add()
        counts.add(patience="0")
        assert counts.started == {"other flow": 1}
        assert not counts.add(patience="0")
    assert counts.all().started == {"other flow": 1}, "what it brought is never counted"


def test_what_rolls_back_is_not_counted(counts: Counts, other: Engine) -> None:
    with other.transaction():
        other.start()
        raise psycopg.Rollback
    assert counts.all().started == {}


def test_two_who_count_at_once_do_not_count_the_same(counts: Counts, other: Engine) -> None:
    engine = counts.engine
    engine.start()
    with engine.transaction():
        engine.value("select seq from workflow.counted_events for update")
        found = count(other)
        assert (found["started"], found["behind"]) == ([], True), "it neither waits nor counts"
    assert counts.all(other).started == {"flow": 1}


def test_one_call_goes_through_so_many_numbers_and_says_that_there_are_more(counts: Counts) -> None:
    engine = counts.engine
    engine.start_many([{"name": "flow"}] * 10)
    parts = []

    def part() -> bool:
        found = count(engine, most=3)
        parts.append(sum(n for _, n in found["started"]))
        return not found["behind"]

    eventually(part)
    assert (sum(parts), max(parts)) == (10, 3)


def test_what_was_deleted_meanwhile_is_counted_without_a_name(counts: Counts) -> None:
    engine = counts.engine
    workflow = engine.start()
    engine.finish(engine.claim_one().succeeded())
    engine.run("delete from workflow.tasks where workflow_id = %s", workflow)
    engine.run("delete from workflow.workflows where id = %s", workflow)
    counts.all()
    assert counts.started == {None: 1}
    assert counts.ended == {(None, "succeeded", 0): 1}


def test_nothing_is_written_while_nothing_happens(counts: Counts) -> None:
    counts.all()
    version = "select xmin::text || ctid::text from workflow.counted_events"
    before = counts.engine.value(version)
    for _ in range(3):
        assert not counts.add()
    assert counts.engine.value(version) == before


def test_definitions_get_labels_by_how_much_they_are_used(counts: Counts) -> None:
    engine = counts.engine
    engine.define({"a": []}, name="unused")
    engine.start_many([{"name": "other flow"}] * 3 + [{"name": "flow"}])
    labels = "select workflow.definition_labels(%s)"
    assert engine.value(labels, 10) == ["other flow", "flow", "unused"]
    assert engine.value(labels, 1) == ["other flow"]
    engine.run("select workflow.disable_definition('unused')")
    assert engine.value(labels, 10) == ["other flow", "flow"]
