"""An operator lets a worker claim nothing."""

from typing import Any

import psycopg
import pytest

from .engine import Engine


def drain(engine: Engine, worker_id: int | None = None) -> None:
    engine.value("select workflow.drain_worker(%s, 'ann')", worker_id or engine.worker_id)


def undrain(engine: Engine) -> None:
    engine.value("select workflow.undrain_worker(%s)", engine.worker_id)


def says(engine: Engine, status: str, reason: str | None = None) -> None:
    engine.value("select workflow.set_worker_status(%s, %s, %s)", engine.worker_id, status, reason)


def shown(engine: Engine) -> dict[str, Any]:
    return engine.rows(
        "select status, status_reason, drained_by, drained_at is not null as drained from workflow.worker_list"
        " where id = %s", engine.worker_id,
    )[0]  # fmt: skip


def test_it_claims_nothing_delivers_what_it_has_and_stays_registered(engine: Engine) -> None:
    engine.define({"a": [], "b": []})
    workflow = engine.start()
    claim = engine.claim(1)[0]
    drain(engine)
    turn = engine.turn([claim.succeeded()], want=1)
    assert (turn["stale"], turn["claims"], turn["again"], turn["registered"]) == ([], [], False, True)
    assert sorted(engine.tasks(workflow).values()) == ["pending", "succeeded"]
    assert shown(engine) == {"status": "draining", "status_reason": "operator", "drained_by": "ann", "drained": True}
    undrain(engine)
    assert shown(engine) == {"status": "active", "status_reason": None, "drained_by": None, "drained": False}
    assert len(engine.claim()) == 1


def test_to_drain_twice_and_to_undrain_what_is_not_drained_change_nothing(engine: Engine) -> None:
    undrain(engine)
    drain(engine)
    engine.value("select workflow.drain_worker(%s, 'bob')", engine.worker_id)
    assert shown(engine)["drained_by"] == "ann"


def test_a_worker_that_recovers_its_memory_stays_drained(engine: Engine) -> None:
    engine.define({"a": []})
    engine.start()
    says(engine, "draining", "memory")
    drain(engine)
    assert shown(engine)["status_reason"] == "memory"
    says(engine, "active")
    assert (shown(engine)["status"], shown(engine)["status_reason"]) == ("draining", "operator")
    assert engine.turn(want=1)["claims"] == []


def test_one_that_drains_for_a_reason_of_its_own_goes_on_to(engine: Engine) -> None:
    drain(engine)
    says(engine, "draining", "stopping")
    undrain(engine)
    assert (shown(engine)["status"], shown(engine)["status_reason"]) == ("draining", "stopping")
    assert engine.turn(want=1)["registered"] is False


def test_a_worker_that_is_gone_is_not_drained(engine: Engine) -> None:
    for state, sqlstate in (("unknown", "WF404"), ("dead", "WF409"), ("stopped", "WF409")):
        if state == "dead":
            engine.set_clock("1 hour")
        elif state == "stopped":
            says(engine, "stopped")
        for function in ("drain_worker", "undrain_worker"):
            worker = 10**12 if state == "unknown" else engine.worker_id
            with pytest.raises(psycopg.Error) as refused:
                engine.value(f"select workflow.{function}(%s)", worker)
            assert refused.value.sqlstate == sqlstate


def test_a_process_that_begins_anew_claims(engine: Engine) -> None:
    engine.define({"a": []})
    engine.start()
    drain(engine)
    engine.register()
    assert len(engine.claim()) == 1
