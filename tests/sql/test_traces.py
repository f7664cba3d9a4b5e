"""Traces: a workflow keeps the span it was started in, hands it on, and its end is told to the exporter once."""

from typing import Any
from uuid import UUID

import pytest

from workflow_engine.observability import span_names as names
from workflow_engine.observability.trace_context import read_traceparent

from .engine import Engine
from .nested import child, define, step

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"


class Reader:
    """Reads the spans that ended, as the leader does."""

    def __init__(self, engine: Engine, most: int = 2000) -> None:
        self.engine = engine
        self.most = most
        self.after: int | None = engine.value("select coalesce(pg_sequence_last_value('workflow.event_seq'), 0)")

    def read(self, told: list[int] | None = None) -> dict[str, Any]:
        found: dict[str, Any] = self.engine.value(
            "select workflow.ended_spans(%s, %s, %s)", self.after, told or [], self.most
        )
        self.after = found["top"]
        return found


def run_all(engine: Engine) -> None:
    while claims := engine.claim():
        engine.finish(*(claim.succeeded() for claim in claims))


def kept(engine: Engine, workflow: UUID) -> str | None:
    found: str | None = engine.value("select traceparent from workflow.workflows where id = %s", workflow)
    return found


def test_a_workflow_keeps_the_span_it_was_started_in_and_its_claims_have_it(engine: Engine) -> None:
    engine.define({"a": []})
    workflow = engine.start(traceparent=TRACEPARENT)
    assert kept(engine, workflow) == TRACEPARENT
    assert engine.claim_one().raw["traceparent"] == TRACEPARENT
    assert engine.rows("select traceparent, trace_id from workflow.workflow_list where id = %s", workflow) == [
        {"traceparent": TRACEPARENT, "trace_id": TRACE}
    ]


def test_a_workflow_without_one_has_its_own_trace_and_its_claims_say_nothing(engine: Engine) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    assert "traceparent" not in engine.claim_one().raw, "workers of the version before know no such field"
    assert engine.value("select trace_id from workflow.workflow_list where id = %s", workflow) == workflow.hex


def test_a_start_from_sql_may_name_its_span(engine: Engine) -> None:
    engine.define({"a": []})
    workflow = engine.value("select workflow.start('flow', '{}', p_traceparent => %s)", TRACEPARENT)
    assert kept(engine, workflow) == TRACEPARENT
    assert kept(engine, engine.value("select workflow.start('flow')")) is None


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (TRACEPARENT, TRACEPARENT),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        (f"cc-{TRACE}-{SPAN}-01", TRACEPARENT),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", TRACEPARENT),
        (f"cc-{TRACE}-{SPAN}-01.what", None),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (TRACEPARENT.upper(), None),
        (TRACEPARENT[:-1], None),
        (f"00-{TRACE}-{SPAN}-0g", None),
        (f"{TRACEPARENT}\n", None),
        ("", None),
        (None, None),
    ],
)
def test_what_is_malformed_counts_as_none_in_python_as_in_sql(
    engine: Engine, text: str | None, read: str | None
) -> None:
    assert engine.value("select workflow.read_traceparent(%s)", text) == read
    assert read_traceparent(text) == read
    engine.define({"a": []})
    assert kept(engine, engine.start(traceparent=text)) == read


@pytest.mark.parametrize("of_attempt", [None, f"00-{TRACE}-1234567890abcdef-01"])
def test_a_child_belongs_to_the_attempt_that_starts_it_or_else_to_the_caller(
    engine: Engine, of_attempt: str | None
) -> None:
    define(engine, {"call": step(type="noop")}, name="parent")
    define(engine, {"work": step()}, name="child")
    parent = engine.start("parent", traceparent=TRACEPARENT)
    awaits = {} if of_attempt is None else {"traceparent": of_attempt}
    engine.finish(child(engine.claim_one(), **awaits))
    (its,) = engine.rows("select id, traceparent from workflow.workflows where parent_id = %s", parent)
    assert its["traceparent"] == (of_attempt or TRACEPARENT)
    run_all(engine)


def test_ids_of_spans_are_in_the_views_as_processes_send_them(engine: Engine) -> None:
    engine.define({"a": []})
    workflow = engine.start(traceparent=TRACEPARENT)
    (task,) = engine.rows("select id, trace_id, span_id from workflow.task_list where workflow_id = %s", workflow)
    assert (task["trace_id"], task["span_id"]) == (TRACE, None)
    engine.finish(engine.claim_one().retried())
    engine.claim_one()
    ids = [names.attempt_span_id(task["id"], attempt) for attempt in (1, 2)]
    spans = engine.rows("select span_id from workflow.attempts where task_id = %s order by attempt", task["id"])
    assert [span["span_id"] for span in spans] == ids
    assert engine.value("select span_id from workflow.task_list where id = %s", task["id"]) == ids[1]
    assert engine.value("select workflow.span_id(%s)", workflow.hex) == names.root_span_id(workflow)


def test_each_end_of_a_workflow_is_told_once_with_what_its_span_needs(engine: Engine) -> None:
    engine.define({"a": []})
    reader = Reader(engine)
    first, second = engine.start(traceparent=TRACEPARENT), engine.start()
    claims = {claim.workflow: claim for claim in engine.claim()}
    engine.finish(claims[first].succeeded(), claims[second].failed())

    told = {UUID(end["workflow_id"]): end for end in reader.read()["workflows"]}

    assert {id: (end["status"], end["traceparent"], end["again"]) for id, end in told.items()} == {
        first: ("succeeded", TRACEPARENT, None),
        second: ("failed", None, None),
    }
    assert told[second]["error"]["type"] == "test.failed"
    times = "select created_at <= %s::timestamptz and finished_at = %s from workflow.workflows where id = %s"
    assert engine.value(times, told[first]["started_at"], told[first]["ended_at"], first)
    assert reader.read()["workflows"] == []


def test_a_workflow_that_was_retried_begins_again_with_the_retry(engine: Engine) -> None:
    engine.define({"a": []})
    reader = Reader(engine)
    workflow = engine.start()
    engine.finish(engine.claim_one().failed())
    (failed,) = reader.read()["workflows"]
    engine.retry(workflow)
    run_all(engine)

    (ended,) = reader.read()["workflows"]

    assert (failed["status"], ended["status"]) == ("failed", "succeeded")
    assert ended["again"] is not None
    assert ended["started_at"] >= failed["ended_at"]


def test_attempts_that_nobody_came_back_from_are_told(engine: Engine) -> None:
    engine.define({"a": []})
    reader = Reader(engine)
    lost, cancelled = engine.start(traceparent=TRACEPARENT), engine.start()
    engine.claim()
    engine.cancel(cancelled)
    engine.set_clock("60 seconds")
    engine.sweep_expired_leases()

    told = {UUID(attempt["workflow_id"]): attempt for attempt in reader.read()["attempts"]}

    assert {
        id: (a["step"], a["path"], a["type"], a["queue"], a["attempt"], a["outcome"]) for id, a in told.items()
    } == {
        lost: ("a", "a", "noop", "default", 1, "lost"),
        cancelled: ("a", "a", "noop", "default", 1, "cancelled"),
    }
    assert told[lost]["worker"] == "test"
    assert told[lost]["started_at"] < told[lost]["ended_at"]
    engine.cancel(lost)


def test_more_ends_than_fit_into_one_answer_are_told_by_the_next(engine: Engine) -> None:
    engine.define({"a": []})
    reader = Reader(engine, most=2)
    started = {engine.start() for _ in range(5)}
    run_all(engine)
    answers = [reader.read() for _ in range(3)]
    assert [(len(answer["workflows"]), answer["more"]) for answer in answers] == [(2, True), (2, True), (1, False)]
    assert {UUID(end["workflow_id"]) for answer in answers for end in answer["workflows"]} == started


def test_whoever_begins_to_read_begins_some_seconds_back(engine: Engine) -> None:
    engine.define({"a": []})
    reader = Reader(engine)
    reader.after = None
    workflow = engine.start()
    run_all(engine)
    assert [UUID(end["workflow_id"]) for end in reader.read()["workflows"]] == [workflow]
    reader.after = None
    engine.set_clock("1 minute")
    assert reader.read()["workflows"] == []
