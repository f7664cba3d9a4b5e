"""Durations as people write them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_engine.definition.durations import parse_duration
from workflow_engine.errors import InputInvalid


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("5m", 300),
        ("1m30s", 90),
        ("2h", 7_200),
        ("7d", 604_800),
        ("1w1d1h1m1s1ms", 694_861.001),
        ("1.5h", 5_400),
        (" 5s ", 5),
        ("60", 60),
        ("0", 0),
        ("0.25", 0.25),
        ("PT1M", 60),
        ("PT1M30S", 90),
        ("PT0.5S", 0.5),
        ("P1DT2H", 93_600),
        ("P2W", 1_209_600),
        (60, 60),
        (0.5, 0.5),
    ],
)
def test_every_documented_form_is_read(written: object, seconds: float) -> None:
    assert parse_duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("", "validation-error"),
        ("soon", "validation-error"),
        ("5 minutes", "validation-error"),
        ("1m1h", "validation-error"),
        ("5s5s", "validation-error"),
        ("5S", "validation-error"),
        ("P", "validation-error"),
        ("PT", "validation-error"),
        ("P1D T2H", "validation-error"),
        ("P1Y", "validation-error"),
        ("P1M", "validation-error"),
        ("1e3", "validation-error"),
        ("٣s", "validation-error"),
        ("9" * 65, "validation-error"),
        (True, "validation-error"),
        (None, "validation-error"),
        (["5s"], "validation-error"),
        (-1, "out-of-range"),
        ("-5s", "out-of-range"),
        (math.nan, "out-of-range"),
        (math.inf, "out-of-range"),
        (10**400, "out-of-range"),
    ],
)
def test_anything_else_is_refused(written: object, code: str) -> None:
    with pytest.raises(InputInvalid) as refused:
        parse_duration(written)
    assert [fault.code for fault in refused.value.faults] == [code]


@given(
    hours=st.integers(0, 999), minutes=st.integers(0, 999), seconds=st.integers(0, 999), millis=st.integers(0, 9_999)
)
def test_short_and_iso_forms_mean_the_same(hours: int, minutes: int, seconds: int, millis: int) -> None:
    expected = hours * 3600 + minutes * 60 + seconds + millis / 1000
    assert parse_duration(f"{hours}h{minutes}m{seconds}s{millis}ms") == pytest.approx(expected)
    iso_seconds = f"{seconds + millis // 1000}.{millis % 1000:03}"
    assert parse_duration(f"PT{hours}H{minutes}M{iso_seconds}S") == pytest.approx(expected)


@given(st.text(max_size=80) | st.floats() | st.integers() | st.none() | st.booleans())
def test_the_result_is_finite_and_not_negative_or_refused(written: object) -> None:
    try:
        seconds = parse_duration(written)
    except InputInvalid:
        return
    assert 0 <= seconds < math.inf
