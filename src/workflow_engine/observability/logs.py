"""Logs: one record is one line on stdout, as logfmt or JSON, for our own records and for those of libraries.

    time=2026-01-31T12:00:00.123456Z level=info msg="task picked up" workflow_id=0198... task_id=65536 worker=w-1

Every line about a workflow carries the unquoted pair `workflow_id=<id>`, so that `grep "workflow_id=<id>"` finds it; in
JSON form the message text repeats the pair for the same reason.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from structlog.typing import FilteringBoundLogger, Processor

from workflow_engine.settings import Settings

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

# Libraries that tell every request or retry at INFO; their warnings and errors are wanted.
_TALKATIVE = ("httpx", "httpcore", "procrastinate", "asyncio", "uvicorn.access")

# What could end the line, move the cursor, reverse the reading direction or fail to encode.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NEEDS_QUOTES = re.compile(r'[\s"=\\]')
_LONGEST = 8192  # characters of one value; the rest of it is of no use in a log


def configure_logging(settings: Settings, *, role: str) -> None:
    """Send everything this process logs to stdout in the form and from the level that `settings` asks for.

    Called once at start, before anything is logged; calling it again replaces the earlier configuration.

    Args:
        settings: `LOG_LEVEL` and `LOG_FORMAT` are used.
        role: What this process is, such as `engine` or `worker`; each line carries it.
    """
    level = _LEVELS[settings.log_level]
    render = _render_json if settings.log_format == "json" else _render_logfmt
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _add_time_and_role(role),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Stdout(),
        cache_logger_on_first_use=True,
    )
    handler = _StdoutHandler()
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


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger for one module; it obeys `configure_logging` even when made before that was called."""
    logger: FilteringBoundLogger = structlog.get_logger(module=name)
    return logger


class _Stdout:
    """Where structlog's records end. Looks `sys.stdout` up on each call, so a replaced stream is followed."""

    def msg(self, line: str) -> None:
        # A full disk or a closed pipe must not stop the work that wanted to tell about itself.
        try:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        except (OSError, ValueError):
            return

    debug = info = warning = warn = error = critical = fatal = exception = log = msg


class _StdoutHandler(logging.Handler):
    """Where the records of libraries end."""

    _stdout = _Stdout()

    def emit(self, record: logging.LogRecord) -> None:
        self._stdout.msg(self.format(record))


def _add_time_and_role(role: str) -> Processor:
    def add(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["time"] = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        event["role"] = role
        return event

    return add


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


def _render_logfmt(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    return " ".join(f"{key}={_logfmt_value(value)}" for key, value in _ordered(event).items())


def _logfmt_value(value: Any) -> str:
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = _clip(value if isinstance(value, str) else _as_text(value))
    if text and not _NEEDS_QUOTES.search(text) and not _UNSAFE.search(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{_escape(escaped)}"'


def _render_json(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    line = {key: _clip(value) if isinstance(value, str) else value for key, value in _ordered(event).items()}
    if "workflow_id" in line:
        line["msg"] += f" workflow_id={line['workflow_id']}"
    try:
        return _escape(orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode())
    except TypeError:  # a lone surrogate or an integer beyond 64 bits, which orjson refuses
        return json.dumps(line, default=str)


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
