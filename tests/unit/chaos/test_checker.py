"""The verdict names whatever is not as users were told and as the case says."""

from collections import Counter

import pytest

from chaos.cases import Case
from chaos.checker import VERDICTS, Verdict, _check_calls, _check_effects, _check_start, _Ends, _gaps
from chaos.driver import Played
from chaos.faults.fault import Finding
from chaos.ledger import Entry
from chaos.nemesis import Inflicted

CASE = Case("kind", {}, output={"a": 1}, effects={"a": 1}, tries={"a": 1})
ENDED = {"status": "succeeded", "over": True, "output": {"a": 1}, "error": None}
EFFECT = Entry(10.0, "effect", "w", "a", "w/a", 1)


def found(verdict):
    return {name for name in VERDICTS if getattr(verdict, name)}


def checked(row, played=None, entries=(EFFECT,), records=0):
    verdict = Verdict()
    ends = _Ends({"w": row} if row else {}, {}, list(entries), Counter({"w": records}))
    ends.check(played or Played(1, CASE, "w"), verdict)
    return found(verdict)


def test_an_end_as_it_was_known_before_is_well():
    assert checked(ENDED) == set()


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (None, "lost"),
        ({**ENDED, "status": "running", "over": False}, "lost"),
        ({**ENDED, "status": "failed"}, "wrong"),
        ({**ENDED, "status": "cancelled"}, "wrong"),
        ({**ENDED, "output": {"a": 2}}, "wrong"),
    ],
)
def test_another_end_is_named(row, name):
    assert checked(row) == {name}


def test_an_effect_that_did_not_happen_or_another_one_is_named():
    assert checked(ENDED, entries=()) == {"missing_effect"}
    assert checked(ENDED, entries=[EFFECT, Entry(10.0, "effect", "w", "b", "w/b", 1)]) == {"missing_effect"}


def test_records_that_nobody_asked_for_are_named():
    assert checked(ENDED, records=1) == {"wrong"}


@pytest.mark.parametrize(
    ("told", "status", "expected"),
    [
        (True, "cancelled", set()),
        (True, "succeeded", {"wrong"}),
        (None, "cancelled", set()),
        (None, "succeeded", set()),
        (False, "cancelled", {"wrong"}),
    ],
)
def test_a_cancel_that_was_accepted_cancels_and_one_that_nobody_heard_of_may(told, status, expected):
    played = Played(1, CASE, "w", cancelled=told)
    assert checked({**ENDED, "status": status}, played) == expected


def test_a_start_is_one_and_one_that_was_refused_is_none():
    verdict = Verdict()
    _check_start(Played(1, CASE, "w"), ["w", "x"], verdict)
    assert found(verdict) == {"duplicate_start"}
    verdict = Verdict()
    _check_start(Played(1, CASE, None), ["w"], verdict)
    assert found(verdict) == {"phantom"}
    verdict = Verdict()
    _check_start(Played(1, CASE, None, unheard=True), ["w"], verdict)
    assert found(verdict) == set()


def test_an_effect_under_two_keys_happened_twice():
    verdict = Verdict()
    _check_effects([EFFECT, Entry(11.0, "effect", "w", "a", "another key", 1)], verdict)
    assert found(verdict) == {"duplicate_effect"}


@pytest.mark.parametrize(("began", "expected"), [(9.0, set()), (100.0, {"unexplained"})])
def test_a_call_is_repeated_beside_a_fault_only(began, expected):
    verdict = Verdict()
    calls = [Entry(at, "call", "w", "a", "w/a", 1) for at in (10.0, 11.0)]
    inflicted = [Inflicted("fault", began, began + 1, Finding())]
    assert _check_calls([Played(1, CASE, "w")], calls, lambda workflow: [workflow], inflicted, verdict) == 1
    assert found(verdict) == expected


def test_each_minute_of_a_schedule_is_answered_once():
    minutes = [f"2026-01-01T00:{minute:02}:00Z" for minute in range(5)]
    assert _gaps(minutes) == []
    assert len(_gaps([*minutes[:2], *minutes[3:]])) == 1
    assert len(_gaps([*minutes, minutes[2]])) == 1
