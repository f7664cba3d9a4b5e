"""What a test gives a workflow instead of workers: outputs of steps, signals, answers to approvals."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workflow_engine.definition.faults import Faults, join
from workflow_engine.definition.fields import Fields
from workflow_engine.definition.limits import MAX_TIMEOUT
from workflow_engine.definition.retries import matches
from workflow_engine.errors import InputInvalid, TaskError

NO_OUTPUT = "test.no_output"
"""Type of the error of a task that would have needed an output, and none was given."""

_RESULT = frozenset({"output", "error", "takes"})
_ERROR = ("type", "message", "retryable", "retry_after", "details")
_INDEX = re.compile(r"\[\d+\]")
_LONGEST_WAIT = 100 * 366 * 86_400.0  # seconds
_NOT_RETRIED = ("http.4xx", "validation", "expression", "serialization_error", "payload_too_large")
_RETRIED_ALL_THE_SAME = ("http.408", "http.425", "http.429")


@dataclass(frozen=True, slots=True)
class GivenResult:
    """How one attempt ends: with an output or an error, after a while.

    Attributes:
        output: What the handler would have returned.
        error: What it would have raised, instead.
        takes: Seconds of virtual time.
    """

    output: Any = None
    error: TaskError | None = None
    takes: float = 0.0


@dataclass(slots=True)
class GivenSignal:
    """A signal, sent `at` seconds after the start."""

    name: str
    payload: Any
    at: float
    sent: bool = False


@dataclass(slots=True)
class GivenApproval:
    """The answer to an approval of a step: given when it is asked, but not before `at` seconds after the start."""

    step: str
    outcome: str
    data: Any
    by: str | None
    at: float
    answered: bool = False


@dataclass(slots=True)
class _Series:
    """What was given under one key of `outputs`, and who got which part of it."""

    value: Any
    pointer: str
    places: dict[str, int] = field(default_factory=dict)  # of the paths that asked, in the order in which they did
    used: bool = False


class GivenOutputs:
    """The outputs of steps, by path or id.

    A key is a task's path (`process[3].fetch`), its path without positions (`process.fetch`), or the step's id
    (`fetch`): the first of these that is given counts. A list is one entry per item or iteration where the path has
    positions and the key has none; within an entry, or else, one per attempt.

    Raises:
        InputInvalid: It is not an object, or an entry of it makes no sense.
    """

    def __init__(self, outputs: Mapping[str, Any], pointer: str = "") -> None:
        self._series = {key: _Series(value, join(pointer, key)) for key, value in outputs.items()}
        self._calls: dict[str, int] = {}
        faults = Faults()
        for series in self._series.values():
            _check(series.value, series.pointer, faults)
        if faults:
            raise InputInvalid(faults.found)

    def has(self, path: str, step: str) -> bool:
        """Whether anything is given for a task."""
        return any(key in self._series for key in _keys(path, step))

    def next(self, path: str, step: str) -> GivenResult:
        """How the next attempt of a task ends: with `test.no_output` when nothing is given for it, or not enough."""
        call = self._calls.get(path, 0)
        self._calls[path] = call + 1
        for key in _keys(path, step):
            series = self._series.get(key)
            if series is not None:
                series.used = True
                return self._of(series, path, call, shared=key != path and "[" in path)
        message = f"No output is given for {path}: give one in `outputs`, by its path or by the id of its step."
        return GivenResult(error=TaskError(NO_OUTPUT, message, retryable=False))

    @property
    def unused(self) -> list[str]:
        """Keys that nothing asked for."""
        return [key for key, series in self._series.items() if not series.used]

    def _of(self, series: _Series, path: str, call: int, *, shared: bool) -> GivenResult:
        value = series.value
        if shared and isinstance(value, list):
            place = series.places.setdefault(path, len(series.places))
            if place >= len(value):
                return _used_up(path, f"{len(value)} are given for items or iterations")
            value = value[place]
        if isinstance(value, list):
            if call >= len(value):
                return _used_up(path, f"{len(value)} are given for attempts")
            value = value[call]
        return _result(value)


def read_signals(values: Sequence[Any], pointer: str, faults: Faults) -> list[GivenSignal]:
    """`[{"name", "payload"?, "at"?}]`."""
    found = []
    for fields in _objects(values, pointer, faults):
        fields.refuse_unknown(("name", "payload", "at"))
        name = _needed(fields, "name")
        found.append(GivenSignal(name, fields.get("payload"), _at(fields)))
    return sorted(found, key=lambda signal: signal.at)


def read_approvals(values: Sequence[Any], pointer: str, faults: Faults) -> list[GivenApproval]:
    """`[{"step", "outcome", "data"?, "by"?, "at"?}]`; `step` is a path or an id."""
    found = []
    for fields in _objects(values, pointer, faults):
        fields.refuse_unknown(("step", "outcome", "data", "by", "at"))
        step, outcome = _needed(fields, "step"), _needed(fields, "outcome")
        found.append(GivenApproval(step, outcome, fields.get("data"), fields.text("by"), _at(fields)))
    return found


def names_task(key: str, path: str, step: str) -> bool:
    """Whether a test means a task by `key`."""
    return key in _keys(path, step)


def _keys(path: str, step: str) -> tuple[str, ...]:
    return (path, _INDEX.sub("", path), step)


def _objects(values: Sequence[Any], pointer: str, faults: Faults) -> Iterator[Fields]:
    for index, value in enumerate(values):
        place = join(pointer, index)
        if isinstance(value, dict):
            yield Fields(value, place, faults)
        else:
            faults.add(place, "validation-error", "must be an object")


def _needed(fields: Fields, name: str) -> str:
    if fields.get(name) is None:
        fields.fault(name, "validation-error", "is needed")
    return fields.text(name) or ""


def _at(fields: Fields) -> float:
    return fields.duration("at", most=_LONGEST_WAIT, zero=True) or 0.0


def _used_up(path: str, what: str) -> GivenResult:
    message = f"No output is left for {path}: {what}."
    return GivenResult(error=TaskError(NO_OUTPUT, message, retryable=False))


def _is_explicit(value: Any) -> bool:
    """Whether an entry says how the attempt ends, instead of being its output."""
    return isinstance(value, dict) and value.keys() <= _RESULT and ("output" in value) != ("error" in value)


def _check(value: Any, pointer: str, faults: Faults) -> None:
    if isinstance(value, list):
        for index, entry in enumerate(value):
            _check(entry, join(pointer, index), faults)
    elif _is_explicit(value):
        fields = Fields(value, pointer, faults)
        fields.duration("takes", most=_LONGEST_WAIT, zero=True)
        if isinstance(value.get("error"), str):
            return
        error = fields.part("error")
        if error is not None:
            error.refuse_unknown(_ERROR)
            _needed(error, "type")
            error.text("message")
            error.boolean("retryable")
            error.duration("retry_after", most=MAX_TIMEOUT, zero=True)
            error.mapping("details")


def _result(value: Any) -> GivenResult:
    if not _is_explicit(value):
        return GivenResult(output=value)
    fields = Fields(value, "", Faults())
    takes = fields.duration("takes", most=_LONGEST_WAIT, zero=True) or 0.0
    if "output" in value:
        return GivenResult(output=value["output"], takes=takes)
    given: dict[str, Any] = {"type": value["error"]} if isinstance(value["error"], str) else value["error"] or {}
    error = given_error(
        given.get("type") or "test.failed",
        given.get("message") or "The test lets this attempt fail.",
        retryable=given.get("retryable"),
        retry_after=Fields(given, "", Faults()).duration("retry_after", most=MAX_TIMEOUT, zero=True),
        details=given.get("details"),
    )
    return GivenResult(error=error, takes=takes)


def given_error(
    type: str,
    message: str,
    *,
    retryable: bool | None = None,
    retry_after: float | None = None,
    details: Mapping[str, Any] | None = None,
) -> TaskError:
    """An error as a handler would raise it: whether it is retryable follows from its type unless it is said."""
    if retryable is None:
        retryable = matches(type, _RETRIED_ALL_THE_SAME) or not matches(type, _NOT_RETRIED)
    return TaskError(type, message, retryable=retryable, retry_after=retry_after, details=details)
