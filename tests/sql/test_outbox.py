"""The outbox: what is emitted is a row of the commit that ends its step, and is delivered at least once."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from .engine import Engine
from .test_signals import events, fill, take

URL = "https://example.com/hooks/1?x=2"


def emitted(engine: Engine, *emits: dict[str, Any]) -> UUID:
    """A workflow whose steps have emitted."""
    engine.define({f"e{n}": [] for n in range(len(emits))}, name="emitter")
    workflow = engine.start("emitter")
    claims = sorted((c for c in engine.claim() if c.workflow == workflow), key=lambda c: c.task_id)
    assert engine.finish(*(c.succeeded(effects={"emit": e}) for c, e in zip(claims, emits, strict=True))) == []
    return workflow


def signal_to(workflow: object, name: str = "go", payload: Any = 1) -> dict[str, Any]:
    return {
        "name": name,
        "payload": payload,
        "to": "signal",
        "workflow_id": None if workflow is None else str(workflow),
    }


def webhook(url: str | None = URL, payload: Any = 1) -> dict[str, Any]:
    return {"name": "order.paid", "payload": payload, "to": "webhook", "url": url}


def waiting(engine: Engine, count: int = 1, name: str = "go") -> list[UUID]:
    engine.define({"a": []})
    workflows = [engine.start() for _ in range(count)]
    engine.finish(*(c.waiting("signal", name=name) for c in engine.claim()))
    return workflows


def letters(engine: Engine, workflow: UUID) -> list[dict[str, Any]]:
    return engine.rows("select * from workflow.outbox_list where workflow_id = %s order by id", workflow)


def statuses(engine: Engine, workflow: UUID) -> list[str]:
    return [letter["status"] for letter in letters(engine, workflow)]


def test_a_signal_that_its_workflow_has_no_room_for_is_a_dead_letter_and_stops_no_other(engine: Engine) -> None:
    full, other = waiting(engine, 2)
    fill(engine, full, 10_000)
    emitter = emitted(engine, signal_to(full), signal_to(other))
    assert engine.deliver_signals() == {"delivered": 1, "dead": 1, "split": 0}
    assert sorted(statuses(engine, emitter)) == ["dead", "delivered"]
    assert "10000 signals" in next(letter["error"] for letter in letters(engine, emitter) if letter["error"])


def test_an_emitted_signal_is_delivered_to_its_workflow(engine: Engine) -> None:
    (target,) = waiting(engine)
    emitter = emitted(engine, signal_to(target, payload={"n": 1}))
    assert statuses(engine, emitter) == ["pending"]
    assert engine.claim() == []
    assert engine.deliver_signals() == {"delivered": 1, "dead": 0, "split": 0}
    claim = engine.claim_one()
    assert events(claim) == [({"n": 1}, True)]
    assert claim.raw["resumed"]["events"][0]["by"] == f"workflow {emitter}"
    engine.finish(take(claim))
    assert engine.status(target) == "succeeded"
    assert statuses(engine, emitter) == ["delivered"]
    assert engine.deliver_signals() == {"delivered": 0, "dead": 0, "split": 0}


def test_what_is_emitted_stands_and_falls_with_its_step(engine: Engine) -> None:
    engine.define({"e": []}, name="emitter")
    workflow = engine.start("emitter")
    claim = engine.claim_one()
    with engine.transaction():
        engine.finish(claim.succeeded(effects={"emit": webhook()}))
        raise psycopg.Rollback
    assert letters(engine, workflow) == []
    engine.finish(claim.succeeded(effects={"emit": webhook()}))
    engine.finish(claim.succeeded(effects={"emit": webhook()}))
    assert len(letters(engine, workflow)) == 1, "a completion delivered twice emits once"


@pytest.mark.parametrize("target", ["ended", "nobody", "no id"])
def test_a_signal_that_nobody_can_take_is_a_dead_letter(engine: Engine, target: str) -> None:
    (ended,) = waiting(engine)
    engine.cancel(ended)
    emitter = emitted(engine, signal_to({"ended": ended, "nobody": uuid4(), "no id": "x"}[target]))
    assert engine.deliver_signals() == {"delivered": 0, "dead": 1, "split": 0}
    (letter,) = letters(engine, emitter)
    assert (letter["status"], letter["error"]) == (
        "dead", "The workflow has ended." if target == "ended" else "There is no such workflow.",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["", "a\nb", None])
def test_a_signal_without_a_proper_name_is_a_dead_letter_and_stops_no_other(engine: Engine, name: str | None) -> None:
    (target,) = waiting(engine)
    emitter = emitted(engine, {**signal_to(target), "name": name}, signal_to(target))
    assert engine.deliver_signals() == {"delivered": 1, "dead": 1, "split": 0}
    assert sorted(statuses(engine, emitter)) == ["dead", "delivered"]


def test_a_signal_without_a_workflow_goes_to_all_that_wait_for_its_name(engine: Engine) -> None:
    targets = waiting(engine, 3)
    (other,) = waiting(engine, name="stop")
    emitter = emitted(engine, signal_to(None))
    while any(engine.deliver_signals(limit=2).values()):
        pass
    claims = engine.claim()
    assert {c.workflow for c in claims} == set(targets)
    (letter,) = letters(engine, emitter)
    assert (letter["status"], letter["receivers"]) == ("delivered", 3)
    assert engine.value("select count(*) from workflow.outbox where copy_of is not null") == 0
    assert engine.tasks(other) == {"a": "waiting"}


def test_a_workflow_that_is_held_by_another_transaction_gets_its_signal_later(engine: Engine, other: Engine) -> None:
    (target,) = waiting(engine)
    emitter = emitted(engine, signal_to(target))
    with other.transaction():
        other.rows("select 1 from workflow.workflows where id = %s for update", target)
        assert engine.deliver_signals() == {"delivered": 0, "dead": 0, "split": 0}
    assert statuses(engine, emitter) == ["pending"]
    engine.set_clock("2 seconds")
    assert engine.deliver_signals() == {"delivered": 1, "dead": 0, "split": 0}


def test_webhooks_are_taken_by_one_and_due_again_when_nothing_is_heard_of_it(engine: Engine, other: Engine) -> None:
    emitter = emitted(engine, webhook(payload={"n": 1}))
    with engine.transaction():
        (taken,) = engine.take_webhooks()
        assert other.take_webhooks() == []
    assert (taken["url"], taken["origin"], taken["payload"], taken["tries"]) == (
        URL,
        "https://example.com",
        {"n": 1},
        1,
    )
    assert other.take_webhooks() == []
    engine.set_clock("61 seconds")
    (again,) = engine.take_webhooks()
    assert (again["id"], again["tries"]) == (taken["id"], 2)
    assert engine.end_webhook(taken, "too late") is None, "another has it now"
    assert engine.end_webhook(again) == "delivered"
    assert engine.end_webhook(again) is None
    assert statuses(engine, emitter) == ["delivered"]


def test_a_webhook_that_failed_is_due_after_its_delay_and_dead_without_one(engine: Engine) -> None:
    emitter = emitted(engine, webhook())
    (taken,) = engine.take_webhooks()
    assert engine.end_webhook(taken, "http.503", 30) == "pending"
    assert engine.take_webhooks() == []
    engine.set_clock("31 seconds")
    (taken,) = engine.take_webhooks()
    assert engine.end_webhook(taken, "http.410") == "dead"
    (letter,) = letters(engine, emitter)
    assert (letter["status"], letter["tries"], letter["error"], letter["due_at"]) == ("dead", 2, "http.410", None)
    engine.set_clock("1 day")
    assert engine.take_webhooks() == []
    engine.run("select workflow.redeliver(%s)", letter["id"])
    (taken,) = engine.take_webhooks()
    assert taken["tries"] == 1
    engine.end_webhook(taken)
    for id, state in ((letter["id"], "WF409"), (uuid4(), "WF404")):
        with pytest.raises(psycopg.Error) as error:
            engine.run("select workflow.redeliver(%s)", id)
        assert error.value.sqlstate == state


def test_many_that_were_given_up_are_sent_again_at_once(engine: Engine) -> None:
    emitter = emitted(engine, *[webhook(f"https://a.example/{n}") for n in range(3)])
    first, second, third = engine.take_webhooks()
    engine.end_webhook(first, "http.503")
    engine.end_webhook(second, "http.503", 3600)
    engine.end_webhook(third)
    ids = [row["id"] for row in letters(engine, emitter)]
    assert engine.value("select workflow.redeliver_many(%s::uuid[])", [*ids, uuid4()]) == 2
    assert {w["tries"] for w in engine.take_webhooks()} == {1, 2}, "what was given up begins anew"
    assert engine.value("select workflow.redeliver_many('{}')") == 0


def test_webhooks_to_one_host_do_not_hold_up_those_to_others(engine: Engine) -> None:
    slow = [webhook(f"https://slow.example/{n}") for n in range(30)]
    emitted(engine, *slow, webhook("https://quick.example/"))
    taken = engine.take_webhooks(3, each=2, busy=["https://quick.example"])
    assert [w["origin"] for w in taken] == ["https://slow.example"] * 2
    for w in taken:
        engine.end_webhook(w, "slow", 60)
    origins = [w["origin"] for _ in range(3) for w in engine.take_webhooks(3, each=2, busy=["https://slow.example"])]
    assert origins == ["https://quick.example"]


def test_a_webhook_without_a_url_can_be_taken_and_given_up(engine: Engine) -> None:
    emitter = emitted(engine, webhook(None))
    (taken,) = engine.take_webhooks()
    assert (taken["url"], taken["origin"]) == (None, "")
    engine.end_webhook(taken, "no url")
    assert statuses(engine, emitter) == ["dead"]
