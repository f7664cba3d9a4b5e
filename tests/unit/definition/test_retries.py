"""When a failed attempt is tried again, and after how long."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_engine.definition.retries import (
    DEFAULT_RETRY_POLICY,
    RETRY_AFTER_LIMIT,
    RetryPolicy,
    matches,
    next_delay,
)


def delay(policy: RetryPolicy = DEFAULT_RETRY_POLICY, error_type: str = "timeout", **facts: Any) -> float | None:
    """The next delay of a task that failed once just now, unless `facts` say otherwise."""
    return next_delay(policy, error_type, **{"retryable": True, "tries": 1, "elapsed": 0.0, "random": 0.5, **facts})


def exact(**fields: Any) -> RetryPolicy:
    return RetryPolicy(**{"jitter": "none", "max_attempts": 10, **fields})


def test_waits_double_up_to_the_longest_one() -> None:
    assert [delay(exact(), tries=tries) for tries in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_full_jitter_spreads_the_wait_from_zero_to_the_computed_one() -> None:
    assert [delay(tries=2, random=random) for random in (0.0, 0.25, 0.999)] == [0.0, 0.5, pytest.approx(1.998)]


def test_the_default_is_three_tries() -> None:
    assert [delay(tries=tries) is not None for tries in (1, 2, 3)] == [True, True, False]


def test_an_error_the_handler_calls_final_is_not_retried() -> None:
    assert delay(error_type="http.404", retryable=False) is None


def test_retry_on_overrules_the_handler_both_ways() -> None:
    policy = exact(retry_on=("http.404",))
    assert delay(policy, "http.404", retryable=False) == 1
    assert delay(policy, "timeout") is None


def test_no_retry_on_beats_retry_on() -> None:
    policy = exact(retry_on=("*",), no_retry_on=("http.4xx",))
    assert delay(policy, "http.409") is None
    assert delay(policy, "http.503") == 1


@pytest.mark.parametrize("error_type", ["expression", "cancelled"])
def test_what_no_attempt_can_mend_is_never_retried(error_type: str) -> None:
    assert delay(exact(retry_on=("*", error_type)), error_type) is None


def test_retry_after_is_a_floor_that_max_delay_does_not_lower() -> None:
    policy = exact(max_delay=10.0)
    assert delay(policy, retry_after=120.0) == 120.0
    assert delay(policy, retry_after=0.1) == 1.0
    assert delay(policy, retry_after=1e9) == RETRY_AFTER_LIMIT


def test_no_try_starts_after_max_elapsed() -> None:
    policy = exact(max_elapsed=10.0)
    assert delay(policy, elapsed=9.0) == 1.0
    assert delay(policy, elapsed=9.1) is None
    assert delay(policy, retry_after=11.0) is None


@pytest.mark.parametrize(
    ("error_type", "pattern", "expected"),
    [
        ("http.503", "http.503", True),
        ("http.503", "http.5xx", True),
        ("http.503", "http", True),
        ("http.503", "*", True),
        ("http.503", "http.4xx", False),
        ("http.5", "http.5xx", False),
        ("http.5034", "http.5xx", False),
        ("http.503", "http.50", False),
        ("https.503", "http", False),
        ("user.card_declined", "user", True),
        ("user.card_declined", "user.card", False),
        ("timeout", "timeout", True),
        ("5xx", "5xx", True),
        ("503", "5xx", False),
    ],
)
def test_patterns_match_exactly_by_family_or_by_class(error_type: str, pattern: str, expected: bool) -> None:
    assert matches(error_type, [pattern]) is expected


policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 1000),
    initial_delay=st.floats(0, 86_400),
    backoff=st.floats(1, 1000),
    max_delay=st.floats(0, 86_400),
    jitter=st.sampled_from(["full", "none"]),
    max_elapsed=st.none() | st.floats(1, 1e7),
    retry_on=st.lists(st.sampled_from(["*", "http.5xx", "timeout"])).map(tuple),
    no_retry_on=st.lists(st.sampled_from(["http.503", "user"])).map(tuple),
    when=st.none() | st.just("error.attempt < 3"),
)


@given(
    policy=policies,
    facts=st.fixed_dictionaries(
        {
            "error_type": st.sampled_from(["http.503", "http.404", "timeout", "user.x", "expression"]),
            "retryable": st.booleans(),
            "tries": st.integers(1, 1100),
            "elapsed": st.floats(0, 1e7),
            "random": st.floats(0, 1, exclude_max=True),
            "retry_after": st.none() | st.floats(0, 1e9),
        }
    ),
)
def test_a_delay_keeps_every_limit(policy: RetryPolicy, facts: dict[str, Any]) -> None:
    wait = delay(policy, **facts)
    if wait is None:
        return
    assert facts["tries"] < policy.max_attempts
    asked = min(facts["retry_after"] or 0.0, RETRY_AFTER_LIMIT)
    assert asked <= wait <= max(policy.max_delay, asked)
    assert policy.max_elapsed is None or facts["elapsed"] + wait <= policy.max_elapsed
    assert not matches(facts["error_type"], (*policy.no_retry_on, "expression"))


@given(policies)
def test_a_policy_survives_json(policy: RetryPolicy) -> None:
    assert RetryPolicy.from_json(policy.to_json()) == policy
