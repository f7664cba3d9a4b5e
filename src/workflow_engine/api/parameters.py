"""Parameters of queries: declared once, for reading them and for the OpenAPI document. Unknown ones are refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi import Request

from workflow_engine.api.answers import read_cursor
from workflow_engine.api.problems import invalid_parameter
from workflow_engine.definition.durations import parse_duration
from workflow_engine.definition.faults import clipped, did_you_mean
from workflow_engine.definition.limits import MAX_TIMEOUT
from workflow_engine.errors import InputInvalid
from workflow_engine.records import AuditFilter, WorkflowFilter
from workflow_engine.states import ApprovalStatus, DeliveryStatus, WorkflowStatus

MAX_LIMIT = 1000
MAX_WAIT_SECONDS = 300.0
MAX_WINDOW_SECONDS = 7 * 86_400.0
MAX_PAUSE_SECONDS = 365 * 86400.0
_LONGEST_SECONDS = 100 * 365 * 86400.0
LARGEST_VERSION = 2**31 - 1
_STATUSES = tuple(status.value for status in WorkflowStatus)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a query.

    Attributes:
        name: As written; `label.*` stands for all names that begin with `label.`.
        read: From text to value; raises ValueError with what is accepted.
        default: The value when it is not given.
        schema: JSON Schema, for the document.
        description: For the document.
        example: For the document.
        repeatable: May be given more than once; `read` then gets the texts joined by commas.
    """

    name: str
    read: Callable[[str], Any]
    default: Any
    schema: Mapping[str, Any]
    description: str
    example: Any
    repeatable: bool = field(default=False)

    def document(self) -> dict[str, Any]:
        """As OpenAPI has it."""
        return {
            "name": self.name,
            "in": "query",
            "required": False,
            "schema": dict(self.schema),
            "description": self.description,
            "example": self.example,
        }


def read_parameters(request: Request, known: Collection[Parameter]) -> dict[str, Any]:
    """The values of the known parameters, by name; those of `label.*` as a mapping without the prefix.

    Raises:
        InputInvalid: One is unknown, given twice, or has a value that is not accepted.
    """
    given = dict.fromkeys(request.query_params, "")
    values: dict[str, Any] = {}
    for parameter in known:
        if parameter.name.endswith(".*"):
            prefix = parameter.name[:-1]
            names = [name for name in given if name.startswith(prefix)]
            values[parameter.name] = {name.removeprefix(prefix): _read(request, parameter, name) for name in names}
        else:
            names = [parameter.name]
            present = parameter.name in given
            values[parameter.name] = _read(request, parameter, parameter.name) if present else parameter.default
        for name in names:
            given.pop(name, None)
    for name in given:
        names = [parameter.name for parameter in known]
        hint = did_you_mean(name, names) or f"; known are {', '.join(names)}"
        raise invalid_parameter(clipped(name), f"is unknown{hint}")
    return values


def _read(request: Request, parameter: Parameter, name: str) -> Any:
    texts = request.query_params.getlist(name)
    if len(texts) > 1 and not parameter.repeatable:
        raise invalid_parameter(name, "is given more than once")
    try:
        return parameter.read(",".join(texts))
    except ValueError as error:
        raise invalid_parameter(name, f"{clipped(texts[0])} is not accepted: {error}") from error


def _limit(text: str) -> int:
    limit = natural(text, MAX_LIMIT)
    if limit is None:
        raise ValueError(f"write an integer from 1 to {MAX_LIMIT}")
    return limit


def _sequence(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise ValueError("write the id of an event, as the stream has them")
    return int(text)


def _flag(text: str) -> bool:
    known = {"": True, "true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in known:
        raise ValueError("write true or false")
    return known[text.lower()]


def natural(text: str, most: int) -> int | None:
    """An integer from 1 to `most`; None: the text is none."""
    digits = text.lstrip("0")  # however many there are before it
    if not (text.isascii() and digits.isdecimal()) or len(digits) > len(str(most)) or int(digits) > most:
        return None
    return int(digits)


def _version(text: str) -> int:
    version = natural(text, LARGEST_VERSION)
    if version is None:
        raise ValueError("write the number of a version, 1 or more")
    return version


def _one_of(text: str, known: tuple[str, ...]) -> str:
    if text not in known:
        raise ValueError(f"write {' or '.join(known)}")
    return text


def _statuses(text: str) -> list[str]:
    statuses = [status.strip() for status in text.split(",")]
    for status in statuses:
        if status not in _STATUSES:
            raise ValueError(f"write {', '.join(_STATUSES)}")
    return statuses


def _some_of(names: tuple[str, ...]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        chosen = [name.strip() for name in text.split(",")]
        if not set(chosen) <= set(names):
            raise ValueError(f"write {', '.join(names)}")
        return chosen

    return read


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise ValueError("write the id of a workflow") from error


def _included(text: str) -> list[str]:
    kinds = [kind.strip() for kind in text.split(",")]
    if kinds != ["waiting"] * len(kinds):
        raise ValueError("write waiting")
    return kinds


def _ttl(text: str) -> float:
    try:
        value = parse_duration(text)
    except InputInvalid as error:
        raise ValueError(error.faults[0].message) from error
    if not 0 < value <= MAX_PAUSE_SECONDS:
        raise ValueError("write a time from 1ms to 365d")
    return value


def _text(text: str) -> str:
    if not text or len(text) > 1024 or "\0" in text:
        raise ValueError("write a text of 1 to 1,024 characters")
    return text


def _line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("write one line of printable characters")
    return _text(text)


def seconds(text: str, most: float = MAX_WAIT_SECONDS) -> float:
    """A length of time, such as a time to wait.

    Raises:
        ValueError: It is no duration, or too long.
    """
    try:
        value = parse_duration(text)
    except InputInvalid as error:
        raise ValueError(error.faults[0].message) from error
    if value > most:
        raise ValueError(f"at most {most:g} seconds")
    return value


def _window(text: str) -> float:
    return _above_zero(text, MAX_WINDOW_SECONDS)


def _timeout(text: str) -> float:
    return _above_zero(text, MAX_TIMEOUT)


def _length(text: str) -> float:
    return seconds(text, _LONGEST_SECONDS)


def _above_zero(text: str, most: float) -> float:
    value = seconds(text, most)
    if value == 0:
        raise ValueError("must be more than zero")
    return value


def _moment(text: str) -> datetime:
    try:
        return datetime.now(UTC) - timedelta(seconds=parse_duration(text))
    except (InputInvalid, OverflowError):
        pass
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))  # an unescaped + arrives as a space
    except ValueError as error:
        raise ValueError("write a time such as 2026-01-31T12:00:00Z, or how long ago: 24h") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _http_status(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) == 3 and 100 <= int(text) <= 599):
        raise ValueError("write a number from 100 to 599")
    return int(text)


def _workflow_position(text: str) -> UUID:
    try:
        return UUID(read_cursor(text))
    except (InputInvalid, ValueError) as error:
        raise ValueError("take it from the Link header of the page before") from error


def _task_position(text: str) -> int:
    try:
        position = read_cursor(text)
    except InputInvalid:
        position = ""
    if not position.isdecimal() or len(position) > 18:
        raise ValueError("take it from the Link header of the page before")
    return int(position)


def _name_position(text: str) -> str:
    try:
        position = read_cursor(text)
    except InputInvalid:
        position = ""
    if not position or len(position) > 256 or "\0" in position:
        raise ValueError("take it from the Link header of the page before")
    return position


PRETTY = Parameter("pretty", _flag, False, {"type": "boolean"}, "Indent the answer.", True)
WAIT = Parameter(
    "wait", seconds, 0.0, {"type": "string"}, "Answer when the workflow has ended, or after this time.", "30s"
)
TIMEOUT = Parameter(
    "timeout",
    _timeout,
    None,
    {"type": "string"},
    "Time that its attempts may take from now on, until it ends; beats its step, its type and the default.",
    "600",
)
FOLLOW = Parameter(
    "follow", _flag, False, {"type": "boolean"}, "Go on until the workflow has ended; `ndjson` unless `text`.", True
)
AFTER = Parameter(
    "after",
    _sequence,
    None,
    {"type": "integer", "minimum": 0},
    "Only events after the one with this `id`; the header `Last-Event-ID` says the same. Default: all.",
    4711,
)
FORCE = Parameter("force", _flag, False, {"type": "boolean"}, "Also run again a workflow that was cancelled.", True)
INCLUDE = Parameter(
    "include",
    _included,
    (),
    {"type": "string"},
    "`waiting`: also those of which nothing goes on by itself: they wait for the world outside, or are paused.",
    "waiting",
    repeatable=True,
)
TTL = Parameter(
    "ttl", _ttl, None, {"type": "string"}, "Resume by itself after this time; default: not before asked to.", "15m"
)
DRY_RUN = Parameter("dry_run", _flag, False, {"type": "boolean"}, "Change nothing, only say what would be done.", True)
ORPHAN_ACTION = Parameter(
    "action",
    lambda text: _one_of(text, ("recover", "cancel")),
    "recover",
    {"type": "string", "enum": ["recover", "cancel"], "default": "recover"},
    "What to do with them.",
    "recover",
)
VERSION = Parameter(
    "version", _version, None, {"type": "integer", "minimum": 1}, "The number of a version; it must be given.", 2
)
WHICH_VERSION = Parameter(
    "version", _version, None, {"type": "integer", "minimum": 1}, "The number of a version; default: the latest.", 2
)
FROM_VERSION = Parameter(
    "from", _version, None, {"type": "integer", "minimum": 1}, "The old version; default: the one before `to`.", 1
)
TO_VERSION = Parameter(
    "to", _version, None, {"type": "integer", "minimum": 1}, "The new version; default: the latest.", 2
)
STATUS = Parameter(
    "status",
    _statuses,
    (),
    {"type": "string"},
    f"Only these, separated by commas or repeated: {', '.join(_STATUSES)}.",
    "failed,cancelled",
    repeatable=True,
)
WORKFLOW_ID = Parameter(
    "workflow_id", _id, None, {"type": "string"}, "Only of this workflow.", "0198c2f4-5a3e-7c41-9d3b-0f6b1f0e2a77"
)
BY = Parameter("by", _line, None, {"type": "string"}, "Who sends it; shown with it.", "ann")
SIGNAL_NAME = Parameter("name", _text, None, {"type": "string"}, "Only signals of this name.", "paid")


def _status_of(names: tuple[str, ...], default: tuple[str, ...]) -> Parameter:
    return Parameter(
        "status",
        _some_of(names),
        default,
        {"type": "string", "default": ",".join(default)},
        f"Only these, separated by commas or repeated: {', '.join(names)}.",
        ",".join(default),
        repeatable=True,
    )


APPROVAL_STATUS = _status_of(tuple(ApprovalStatus), (ApprovalStatus.OPEN.value,))
DELIVERY_STATUS = _status_of(tuple(DeliveryStatus), (DeliveryStatus.PENDING.value, DeliveryStatus.DEAD.value))
UNDELIVERED_STATUS = _status_of((DeliveryStatus.PENDING.value, DeliveryStatus.DEAD.value), (DeliveryStatus.DEAD.value,))
ORIGIN = Parameter(
    "origin", _text, None, {"type": "string"}, "Only webhooks to this scheme and host.", "https://example.com"
)
FAILING = Parameter("failing", _flag, False, {"type": "boolean"}, "Only those whose last try has failed.", True)
NAME = Parameter(
    "name",
    _text,
    None,
    {"type": "string"},
    "Only workflows of this definition; with `*` at its end, of all whose names begin so.",
    "data-pipeline",
)
OF_VERSION = Parameter(
    "version",
    _version,
    None,
    {"type": "integer", "minimum": 1},
    "Only workflows on this version of their definition.",
    3,
)
SINCE = Parameter("since", _moment, None, {"type": "string"}, "Created at or after this time, or so long ago.", "24h")
UNTIL = Parameter("until", _moment, None, {"type": "string"}, "Created before this time.", "2026-01-31T12:00:00Z")
PARENT = Parameter(
    "parent", _id, None, {"type": "string"}, "Only children of this workflow.", "0198c2f4-5a3e-7c41-9d3b-0f6b1f0e2a77"
)
FROM = Parameter("from", _moment, None, {"type": "string"}, "From this time on, or since so long ago; needed.", "7d")
BEFORE = Parameter(
    "until", _moment, None, {"type": "string"}, "Before this time; default: now.", "2026-01-31T12:00:00Z"
)
MIN_DURATION = Parameter(
    "min_duration",
    _length,
    None,
    {"type": "string"},
    "Only those that ran at least so long, till now or their end; without the time they lay ended before a retry.",
    "10m",
)
MAX_DURATION = Parameter(
    "max_duration", _length, None, {"type": "string"}, "Only those that ran at most so long.", "1h"
)
ORDER = Parameter(
    "sort",
    lambda text: _one_of(text, ("newest", "oldest", "longest")),
    "newest",
    {"type": "string", "enum": ["newest", "oldest", "longest"], "default": "newest"},
    "`newest` or `oldest` first; `longest`: those that ran longest of the newest 20,000, then of the next 20,000.",
    "oldest",
)
LABEL = Parameter("label.*", _text, {}, {"type": "string"}, "Only workflows with this label: `label.team=x`.", "x")


PRINCIPAL = Parameter("principal", _text, None, {"type": "string"}, "Only of this principal.", "ann")
KEY_PREFIX = Parameter("prefix", _text, "", {"type": "string"}, "Only those whose keys begin so.", "ledger")
OPERATION = Parameter(
    "operation",
    _text,
    None,
    {"type": "string"},
    "Only of this `operationId`; `workflows_cancel*`: of all that begin so.",
    "workflows_cancel*",
)
ANSWERED_WITH = Parameter(
    "status", _http_status, None, {"type": "integer", "minimum": 100, "maximum": 599}, "Only answered with this.", 403
)
ASKED_SINCE = Parameter("since", _moment, None, {"type": "string"}, "At or after this time, or so long ago.", "24h")
ASKED_UNTIL = Parameter("until", _moment, None, {"type": "string"}, "Before this time.", "2026-01-31T12:00:00Z")
LOAD_OF = Parameter("queue", _text, None, {"type": "string"}, "Only of this queue; 0 where nobody uses it.", "default")
TYPE = Parameter("type", _text, None, {"type": "string"}, "Only tasks of this type.", "llm_inference")
THRESHOLD = Parameter(
    "threshold",
    lambda text: seconds(text, MAX_WINDOW_SECONDS),
    60.0,
    {"type": "string", "default": "60s"},
    "Only attempts that took, or have been taking, at least this long.",
    "60s",
)


def form(others: Mapping[str, str]) -> Parameter:
    """The form of an answer: JSON as everywhere, or one of `others` (name and what it is)."""
    names = ["json", *others]

    def read(text: str) -> str:
        if text not in names:
            raise ValueError(f"write {', '.join(names)}")
        return text

    told = ", ".join(f"`{name}` ({what})" for name, what in others.items())
    schema = {"type": "string", "enum": names, "default": "json"}
    return Parameter("format", read, "json", schema, f"The form of the answer: `json`, {told}.", names[-1])


def window(default: str) -> Parameter:
    """How far back to look."""
    schema = {"type": "string", "default": default}
    return Parameter("window", _window, seconds(default, MAX_WINDOW_SECONDS), schema, "How far back to look.", default)


FILTERS = (STATUS, NAME, OF_VERSION, SINCE, UNTIL, MIN_DURATION, MAX_DURATION, LABEL)
"""Which workflows are meant, where many may be."""


def workflow_filter(values: Mapping[str, Any], **more: Any) -> WorkflowFilter:
    """What the values of `FILTERS` mean."""
    return WorkflowFilter(
        **{
            "status": values["status"],
            "name": values["name"],
            "version": values["version"],
            "labels": values["label.*"],
            "since": values["since"],
            "until": values["until"],
            "min_seconds": values["min_duration"],
            "max_seconds": values["max_duration"],
            **more,
        }
    )


AUDIT_FILTERS = (PRINCIPAL, OPERATION, WORKFLOW_ID, ANSWERED_WITH, ASKED_SINCE, ASKED_UNTIL)
"""Which rows of the audit log are meant."""


def audit_filter(values: Mapping[str, Any]) -> AuditFilter:
    """What the values of `AUDIT_FILTERS` mean."""
    return AuditFilter(**{parameter.name: values[parameter.name] for parameter in AUDIT_FILTERS})


def limit(default: int) -> Parameter:
    """Most items of a list that has one page."""
    schema = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": default}
    return Parameter("limit", _limit, default, schema, "Most items.", 100)


def page(default: int, *, of_tasks: bool = False, by_name: bool = False) -> tuple[Parameter, Parameter]:
    """The two parameters of a list that comes in pages: by the ids of workflows, by numbers, or by names."""
    read: Callable[[str], Any] = _task_position if of_tasks else _name_position if by_name else _workflow_position
    schema = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": default}
    return (
        Parameter("limit", _limit, default, schema, "Most items of one page.", 100),
        Parameter("cursor", read, None, {"type": "string"}, "Where the page begins: see the `Link` header.", "NjU1MzY"),
    )
