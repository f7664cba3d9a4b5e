"""workflow.start and start_many: all or none, in the caller's transaction, once per idempotency key."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from uuid import UUID

import psycopg
import pytest

from .engine import Engine


def test_started_workflow_has_its_roots_pending_and_the_rest_blocked(engine: Engine) -> None:
    engine.define({"a": [], "b": ["a"], "c": []})
    workflow = engine.start(input={"x": 1})
    assert engine.status(workflow) == "pending"
    assert engine.tasks(workflow) == {"a": "pending", "b": "blocked", "c": "pending"}
    assert engine.workflow(workflow)["input"] == {"x": 1}
    assert [job["status"] for job in engine.jobs()] == ["todo", "todo"]
    assert engine.events(workflow) == ["workflow.created"]


def test_start_in_a_transaction_that_rolls_back_leaves_nothing(engine: Engine) -> None:
    engine.define({"a": []})
    before = engine.snapshot()
    with engine.transaction() as _:
        engine.value("select workflow.start('flow', '{}')")
        raise psycopg.Rollback
    assert engine.snapshot() == before


def test_start_in_a_transaction_that_commits_starts_the_workflow(engine: Engine, other: Engine) -> None:
    engine.define({"a": []})
    with engine.transaction():
        workflow = engine.value("select workflow.start('flow', '{\"x\": 1}')")
        assert other.claim() == []
    claim = other.claim_one()
    assert claim.workflow == workflow


def test_start_many_answers_in_order(engine: Engine) -> None:
    engine.define({"a": []}, name="one")
    engine.define({"a": []}, name="two")
    names = ["two", "one", "one", "two"]
    answer = engine.start_many([{"name": name, "input": {"n": n}} for n, name in enumerate(names)])
    assert [s["name"] for s in answer["started"]] == names
    assert [engine.workflow(s["id"])["input"]["n"] for s in answer["started"]] == [0, 1, 2, 3]


def test_start_many_of_nothing_starts_nothing(engine: Engine) -> None:
    assert engine.start_many([]) == {"started": [], "replayed": False}


def test_start_many_starts_all_or_none(engine: Engine) -> None:
    engine.define({"a": []})
    before = engine.snapshot()
    with pytest.raises(psycopg.Error, match="not found: nothing") as error:
        engine.start_many([{"name": "flow"}, {"name": "nothing"}])
    assert (error.value.sqlstate, error.value.diag.message_detail) == ("WF404", "definition-not-found")
    assert engine.snapshot() == before


def test_unknown_version_says_which_exist(engine: Engine) -> None:
    engine.define({"a": []})
    with pytest.raises(psycopg.Error, match="flow@7") as error:
        engine.start(version=7)
    assert error.value.sqlstate == "WF404"
    assert error.value.diag.message_hint == "Version 1 exists."


def test_disabled_definition_starts_nothing_until_it_is_registered_again(engine: Engine) -> None:
    engine.define({"a": []})
    engine.run("update workflow.definitions set disabled_at = workflow.clock()")
    with pytest.raises(psycopg.Error) as error:
        engine.start()
    assert (error.value.sqlstate, error.value.diag.message_detail) == ("WF409", "definition-disabled")
    assert engine.define({"a": []}) == 1
    engine.start()


def test_start_uses_the_named_version_else_the_pinned_one_else_the_latest(engine: Engine) -> None:
    assert engine.define({"a": []}) == 1
    assert engine.define({"b": []}) == 2
    assert engine.define({"c": []}) == 3
    assert engine.define({"a": []}) == 1, "equal content is the same version"
    assert engine.tasks(engine.start()) == {"c": "pending"}
    engine.run("update workflow.definitions set pinned_version = 2")
    assert engine.tasks(engine.start()) == {"b": "pending"}
    assert engine.tasks(engine.start(version=1)) == {"a": "pending"}


def test_concurrent_registrations_of_one_name_number_their_versions(
    engine: Engine, connect: Callable[[], Engine]
) -> None:
    engines = [connect() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        versions = list(threads.map(lambda n: engines[n].define({f"s{n}": []}), range(4)))
    assert sorted(versions) == [1, 2, 3, 4]


def test_labels_and_priority_of_the_start_win_over_those_of_the_definition(engine: Engine) -> None:
    engine.define({"a": {"priority": 2}}, plan={"labels": {"team": "x", "env": "dev"}, "priority": 5})
    plain = engine.start()
    special = engine.start(labels={"env": "prod"}, priority=9)
    assert engine.workflow(plain)["labels"] == {"team": "x", "env": "dev"}
    assert engine.workflow(special)["labels"] == {"team": "x", "env": "prod"}
    assert [engine.task(w, "a")["priority"] for w in (plain, special)] == [7, 11]
    assert [job["priority"] for job in engine.jobs()] == [7, 11]


def test_ids_are_ordered_by_time_and_of_version_7(engine: Engine) -> None:
    engine.define({"a": []})
    ids = []
    for _ in range(3):
        ids.append(engine.start())
        engine.run("select pg_sleep(0.002)")  # ids of the same millisecond are in no order
    assert ids == sorted(ids)
    assert {(i.version, i.variant) for i in ids} == {(7, "specified in RFC 4122")}


# Idempotency keys -----------------------------------------------------------------------------------------------------


def test_same_key_and_request_repeats_the_first_answer(engine: Engine) -> None:
    engine.define({"a": []})
    first = engine.start_many([{"name": "flow"}], key="k", fingerprint="f")
    again = engine.start_many([{"name": "flow"}], key="k", fingerprint="f")
    assert again == {"started": first["started"], "replayed": True}
    assert not first["replayed"]
    assert engine.value("select count(*) from workflow.workflows") == 1


def test_same_key_with_another_request_is_refused(engine: Engine) -> None:
    engine.define({"a": []})
    engine.start_many([{"name": "flow"}], key="k", fingerprint="f")
    before = engine.snapshot()
    with pytest.raises(psycopg.Error) as error:
        engine.start_many([{"name": "flow"}], key="k", fingerprint="g")
    assert (error.value.sqlstate, error.value.diag.message_detail) == ("WF422", "idempotency-key-reused")
    assert engine.snapshot() == before


def test_keys_of_two_principals_do_not_meet(engine: Engine) -> None:
    engine.define({"a": []})
    first = engine.start_many([{"name": "flow"}], key="k", principal="ann")
    second = engine.start_many([{"name": "flow"}], key="k", principal="bob")
    assert first["started"][0]["id"] != second["started"][0]["id"]


def test_refused_start_does_not_use_up_its_key(engine: Engine) -> None:
    with pytest.raises(psycopg.Error, match="not found"):
        engine.start_many([{"name": "flow"}], key="k")
    engine.define({"a": []})
    assert not engine.start_many([{"name": "flow"}], key="k")["replayed"]


def test_key_is_free_again_after_a_day(engine: Engine) -> None:
    engine.define({"a": []})
    engine.start_many([{"name": "flow"}], key="k", fingerprint="f")
    engine.set_clock("23 hours 59 minutes")
    assert engine.start_many([{"name": "flow"}], key="k", fingerprint="f")["replayed"]
    engine.set_clock("24 hours 1 minute")
    assert not engine.start_many([{"name": "flow"}], key="k", fingerprint="g")["replayed"]


def test_twenty_requests_at_once_with_one_key_start_one_workflow(engine: Engine, connect: Callable[[], Engine]) -> None:
    engine.define({"a": []})
    engines = [connect() for _ in range(20)]
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda e: e.start_many([{"name": "flow"}], key="k", fingerprint="f"), engines))
    assert len({answer["started"][0]["id"] for answer in answers}) == 1
    assert sum(not answer["replayed"] for answer in answers) == 1
    assert engine.value("select count(*) from workflow.workflows") == 1


def test_request_waits_for_a_concurrent_one_with_its_key_and_takes_over_when_that_rolls_back(
    engine: Engine, other: Engine, blocked: Callable[..., "Future[dict[str, object]]"]
) -> None:
    engine.define({"a": []})
    with engine.transaction():
        engine.start_many([{"name": "flow"}], key="k")
        waiting = blocked(other, lambda: other.start_many([{"name": "flow"}], key="k"))
        raise psycopg.Rollback
    assert not waiting.result()["replayed"]


def test_start_tells_requests_apart_by_name_version_and_input(engine: Engine) -> None:
    engine.define({"a": []})
    call = "select workflow.start('flow', %s::jsonb, %s::integer, 'k')"
    first = engine.value(call, "12", None)
    assert engine.value(call, "12", None) == first
    with pytest.raises(psycopg.Error) as error:
        engine.value(call, "2", 1)
    assert error.value.sqlstate == "WF422"


def test_start_without_input_takes_a_key_too(engine: Engine) -> None:
    engine.define({"a": []})
    call = "select workflow.start('flow', null, null, 'k')"
    assert engine.value(call) == engine.value(call)


def test_the_end_of_an_awaited_workflow_is_told_and_of_no_other(engine: Engine, other: Engine) -> None:
    engine.define({"a": []})
    other.run("listen workflow_ended")
    answer = engine.start_many([{"name": "flow"}, {"name": "flow", "awaited": True}, {"name": "flow", "awaited": True}])
    _, second, third = (started["id"] for started in answer["started"])
    engine.cancel(UUID(third))
    engine.finish(*(claim.succeeded() for claim in engine.claim()))
    engine.retry(UUID(third), force=True)
    engine.finish(*(claim.failed() for claim in engine.claim()))
    engine.run("notify workflow_ended, 'over'")
    told = [notice.payload for notice in other.connection.notifies(timeout=5, stop_after=4)]
    assert told == [third, second, third, "over"]
