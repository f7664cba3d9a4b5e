"""The target has each effect once, and tells the ledger before it tells the caller."""

import pytest

from chaos.ledger import Ledger, read
from chaos.target import Target
from workflow_engine.embedded.standins.server import Request


@pytest.fixture
def target(tmp_path):
    return Target(Ledger(tmp_path / "ledger"))


@pytest.fixture
def ledger(tmp_path):
    return lambda: [entry.phase for entry in read(tmp_path / "ledger")]


def call(target, mode=None, key="k"):
    body = {"workflow": "w", "effect": "e", "amount": 7, "mode": mode or {}}
    return target.answer(Request("POST", "/", {}, {"idempotency-key": key}, body))


def test_a_key_has_one_effect_however_often_it_comes(target, ledger):
    assert [call(target).body for _ in range(2)] == [{"amount": 7}] * 2
    assert ledger() == ["call", "effect", "call"]


def test_another_key_has_an_effect_of_its_own(target, ledger):
    call(target, key="k")
    call(target, key="l")
    assert ledger().count("effect") == 2


@pytest.mark.parametrize(
    ("mode", "statuses", "phases"),
    [
        ({"flaky": 2}, [503, 503, 200], ["call", "call", "call", "effect"]),
        ({"after": 1}, [503, 200], ["call", "effect", "call"]),
        ({"broken": 0}, [500, 500], ["call", "call"]),
        ({"slow": 0.01}, [200], ["call", "effect"]),
        ({"huge": 0}, [200], ["call", "effect"]),
    ],
)
def test_it_behaves_as_badly_as_asked(target, ledger, mode, statuses, phases):
    assert [call(target, mode).status for _ in statuses] == statuses
    assert ledger() == phases


def test_a_call_without_a_key_is_refused_and_not_noted(target, ledger):
    assert target.answer(Request("POST", "/", {}, {}, {"workflow": "w"})).status == 400
    assert ledger() == []
