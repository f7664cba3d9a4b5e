"""When a failed attempt is tried again, and after how long. Pure: the caller brings the clock and the randomness."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Jitter = Literal["full", "none"]

RETRY_AFTER_LIMIT = 3600.0
"""Seconds a target may make us wait with `Retry-After`; a longer demand is cut to this."""

NEVER_RETRIED = ("expression", "cancelled")
"""Errors that another attempt cannot mend: evaluation is pure, and a cancelled task is wanted by nobody."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon a task is tried again. All times in seconds.

    Attributes:
        max_attempts: Tries in all, the first included; 1 = no retry.
        initial_delay: Wait before the second try.
        backoff: Factor from one wait to the next, >= 1.
        max_delay: Longest wait computed by the factor.
        jitter: `full`: a random wait between zero and the computed one, so that a crowd spreads out; `none`: exact.
        max_elapsed: No try starts later than this after the first began; None = no such limit.
        retry_on: When given, only these errors are retried, whatever the handler says of them.
        no_retry_on: These are never retried. Both match exactly (`http.503`), by family (`http` or `user`), by class
            (`http.5xx`), or anything (`*`).
        when: A CEL expression over `error` that must hold too. The worker evaluates it; `next_delay` does not.
    """

    max_attempts: int = 3
    initial_delay: float = 1.0
    backoff: float = 2.0
    max_delay: float = 60.0
    jitter: Jitter = "full"
    max_elapsed: float | None = None
    retry_on: tuple[str, ...] = ()
    no_retry_on: tuple[str, ...] = ()
    when: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "max_attempts": self.max_attempts,
            "initial_delay": self.initial_delay,
            "backoff": self.backoff,
            "max_delay": self.max_delay,
            "jitter": self.jitter,
            "max_elapsed": self.max_elapsed,
            "retry_on": list(self.retry_on),
            "no_retry_on": list(self.no_retry_on),
            "when": self.when,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RetryPolicy:
        return cls(
            **{**data, "retry_on": tuple(data.get("retry_on", ())), "no_retry_on": tuple(data.get("no_retry_on", ()))}
        )


DEFAULT_RETRY_POLICY = RetryPolicy()
"""For tasks whose step, handler and definition say nothing: 3 tries, 1 s doubling up to 60 s, full jitter."""


def next_delay(
    policy: RetryPolicy,
    error_type: str,
    *,
    retryable: bool,
    tries: int,
    elapsed: float,
    random: float,
    retry_after: float | None = None,
) -> float | None:
    """How long to wait before the next try of a task, or None when it failed for good.

    `Retry-After` is a floor: the target knows best, so neither jitter nor `max_delay` makes the wait shorter than it
    asks, up to `RETRY_AFTER_LIMIT`.

    Args:
        policy: What the step, its handler or the engine says.
        error_type: Of the attempt that failed, such as `http.503`.
        retryable: Whether the handler thinks another try may help. `retry_on` overrules it.
        tries: Tries so far that count, the failed one included, >= 1.
        elapsed: Seconds since the first try began.
        random: A random number in [0, 1), for the jitter.
        retry_after: Seconds the target asked us to wait, if it did.
    """
    if tries >= policy.max_attempts or not _worth_another_try(policy, error_type, retryable):
        return None
    try:
        delay = min(policy.max_delay, policy.initial_delay * policy.backoff ** (tries - 1))
    except OverflowError:
        delay = policy.max_delay
    if policy.jitter == "full":
        delay *= random
    if retry_after is not None:
        delay = max(delay, min(retry_after, RETRY_AFTER_LIMIT))
    if policy.max_elapsed is not None and elapsed + delay > policy.max_elapsed:
        return None
    return delay


def _worth_another_try(policy: RetryPolicy, error_type: str, retryable: bool) -> bool:
    if matches(error_type, NEVER_RETRIED) or matches(error_type, policy.no_retry_on):
        return False
    return matches(error_type, policy.retry_on) if policy.retry_on else retryable


def matches(error_type: str, patterns: Iterable[str]) -> bool:
    """Whether an error is named by one of the patterns: exact, family, class such as `http.5xx`, or `*`."""
    return any(_matches(error_type, pattern) for pattern in patterns)


def _matches(error_type: str, pattern: str) -> bool:
    if pattern in ("*", error_type) or error_type.startswith(f"{pattern}."):
        return True
    head, separator, kind = pattern.rpartition(".")
    return (
        bool(separator)
        and kind.endswith("xx")
        and len(error_type) == len(pattern)
        and error_type.startswith(f"{head}.{kind[0]}")
        and error_type[-2:].isdecimal()
    )
