"""Logs: one record is one line, as logfmt or JSON, for our own records and for those of libraries.

Lines go to stdout and, where `LOG_DIR` can be written, also to `app.log` (an engine) or `worker.log` (a worker).

    time=2026-01-31T12:00:00.123456Z level=info msg="task picked up" workflow_id=0198... task_id=65536 worker=w-1

Every line about a workflow carries the unquoted pair `workflow_id=<id>`, so that `grep "workflow_id=<id>"` finds it; in
JSON form the message text repeats the pair for the same reason.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import structlog
from structlog.typing import FilteringBoundLogger, Processor

from workflow_engine.observability.log_files import LogFile, open_log_files
from workflow_engine.observability.output import LogFormat, Output
from workflow_engine.redaction import concealed
from workflow_engine.secrets import Secrets
from workflow_engine.settings import NO_LOG_DIRECTORY, Settings

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

# Libraries that tell every request or retry at INFO; their warnings and errors are wanted.
_TALKATIVE = ("httpx", "httpcore", "procrastinate", "asyncio", "uvicorn.access")

# What could end the line, move the cursor, reverse the reading direction or fail to encode.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NEEDS_QUOTES = re.compile(r'[\s"=\\]')
_LONGEST = 8192  # characters of one value; the rest of it is of no use in a log


KEEPER = "_keeper"
"""Name under which a logger may be bound to an object that keeps its records too: `add(record)` is called with each."""

REDACTOR = "_redactor"
"""Name under which a logger may be bound to a function that takes secrets out of the fields of its records."""


def configure_logging(settings: Settings, *, role: str) -> None:
    """Send everything this process logs to stdout and the log files in the form and from the level of `settings`.

    No line tells a secret that this process has by now. Called once at start, before anything is logged;
    calling it again replaces the earlier configuration. When the files
    cannot be made, one warning says so.

    Args:
        settings: `LOG_LEVEL`, `LOG_FORMAT`, `LOG_DIR` and what bounds its files are used.
        role: What this process is, `engine` or `worker`; each line carries it.
    """
    global _output
    known = Secrets(os.environ, settings.secrets_dir)
    concealed.conceal(*settings.credentials, *filter(None, map(known.get, known.names())))
    level = _LEVELS[settings.log_level]
    render = _render_json if settings.log_format == "json" else _render_logfmt
    files, refusal = _open_files(settings)
    before, _output = _output, _make_output(files, role, settings.log_format, level)
    before.close()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _add_time_and_role(role),
        structlog.processors.format_exc_info,
        _redact,
        _hand_to_keeper,
    ]
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Sink(),
        cache_logger_on_first_use=True,
    )
    handler = _SinkHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_add_module, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(True)
    if refusal:
        get_logger("logs").warning(
            "no log files, stdout only", directory=settings.log_dir, error=refusal,
            hint=f"Make it writable, set LOG_DIR, or set LOG_DIR={NO_LOG_DIRECTORY}.",
        )  # fmt: skip


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger for one module; it obeys `configure_logging` even when made before that was called."""
    logger: FilteringBoundLogger = structlog.get_logger(module=name)
    return logger


def logfmt_line(fields: Mapping[str, Any]) -> str:
    """Fields as one line, in their order, without those that are None."""
    return " ".join(f"{key}={logfmt_value(value)}" for key, value in fields.items() if value is not None)


def write_task_line(level: str, message: str, fields: Mapping[str, Any]) -> None:
    """One line about an attempt in `tasks.log` alone."""
    render = _render_json if _output.log_format == "json" else _render_logfmt
    event = {"time": _now(), "level": level, "event": message, **fields, "role": _output.role}
    _output.write_tasks(render(None, "", event) + "\n")


def output() -> Output:
    """Where this process' lines end."""
    return _output


def _open_files(settings: Settings) -> tuple[dict[str, LogFile], str | None]:
    """The log files, and why there are none."""
    if settings.log_dir == NO_LOG_DIRECTORY:
        return {}, None
    try:
        return open_log_files(
            Path(settings.log_dir), max_bytes=settings.log_max_bytes, backups=settings.log_backups
        ), None
    except OSError as error:
        return {}, str(error)


def _make_output(files: Mapping[str, LogFile], role: str, log_format: LogFormat, level: int) -> Output:
    render = _render_json if log_format == "json" else _render_logfmt

    def complain(message: str, path: str) -> str:
        event = {"time": _now(), "level": "warning", "event": message, "path": path, "role": role}
        return render(None, "", event)

    return Output(files, role=role, log_format=log_format, level=level, complain=complain)


class _Sink:
    """Where structlog's records end."""

    def msg(self, line: str) -> None:
        _output.write(line + "\n")

    debug = info = warning = warn = error = critical = fatal = exception = log = msg


class _SinkHandler(logging.Handler):
    """Where the records of libraries end."""

    def emit(self, record: logging.LogRecord) -> None:
        _output.write(self.format(record) + "\n")


def as_utc(moment: datetime) -> str:
    """A time as all lines have it: UTC, RFC 3339, microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _now() -> str:
    return as_utc(datetime.now(UTC))


def _add_time_and_role(role: str) -> Processor:
    def add(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["time"] = _now()
        event["role"] = role
        return event

    return add


def _redact(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    redact = event.pop(REDACTOR, None)
    own = {name: event[name] for name in event if name.startswith("_")}  # objects that are not logged
    fields = {name: event[name] for name in event if name not in own}
    return {**concealed.told(fields if redact is None else redact(fields)), **own}


def _hand_to_keeper(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if keeper := event.pop(KEEPER, None):
        keeper.add(event)
    return event


def _add_module(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["module"] = event["_record"].name
    return event


def _ordered(event: Mapping[str, Any]) -> dict[str, Any]:
    """The fields in reading order: when, how bad, what, about which workflow; then the rest as they came."""
    line = {"time": event["time"], "level": event["level"], "msg": str(event.get("event", ""))}
    if event.get("workflow_id") is not None:
        line["workflow_id"] = str(event["workflow_id"])
    for key, value in event.items():
        if key not in line and key != "event" and value is not None:
            line[key] = value
    return line


def _render_logfmt(logger: Any, method: str, event: Mapping[str, Any]) -> str:
    return logfmt_line(_ordered(event))


def logfmt_value(value: Any) -> str:
    """A value as it stands after its `=`: quoted and escaped only where it must be, and clipped."""
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = _clip(value if isinstance(value, str) else _as_text(value))
    if text and not _NEEDS_QUOTES.search(text) and not _UNSAFE.search(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{_escape(escaped)}"'


def _render_json(logger: Any, method: str, event: Mapping[str, Any]) -> str:
    line = _ordered(event)
    if "workflow_id" in line:
        line["msg"] += f" workflow_id={line['workflow_id']}"
    return f"{{{json_fields(line)}}}"


def json_fields(fields: Mapping[str, Any]) -> str:
    """The fields of a JSON object without its braces, on one printable line, texts clipped."""
    clipped = {key: _clip(value) if isinstance(value, str) else value for key, value in fields.items()}
    try:
        return _escape(orjson.dumps(clipped, default=str, option=orjson.OPT_NON_STR_KEYS).decode())[1:-1]
    except TypeError:  # a lone surrogate or an integer beyond 64 bits, which orjson refuses
        return json.dumps(clipped, default=str)[1:-1]


def _as_text(value: Any) -> str:
    if isinstance(value, dict | list | tuple):
        try:
            return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:
            return json.dumps(value, default=str)
    return str(value)


def _escape(text: str) -> str:
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _clip(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST - 2000]} ... {text[-2000:]}"


_output = _make_output({}, "none", "logfmt", logging.INFO)  # until `configure_logging` is called
