"""Values between JSON and SQL, both ways, and what a database's errors mean for a task."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import orjson
import psycopg
from psycopg.types.json import Jsonb

from workflow_engine.errors import TIMEOUT_MESSAGE, TaskError
from workflow_engine.handlers.inputs import invalid
from workflow_engine.handlers.output import storable_text

STALE_LEASE = "WF410"
"""SQLSTATE of `workflow.complete_task` when another attempt owns the task, or it was cancelled."""

_TRANSIENT = ("08", "40001", "40P01", "55P03", "57P0", "53300", "25P03")
_READ_ONLY = "25006"
_CANCELLED = "57014"


def as_parameter(value: Any) -> Any:
    """A JSON value as a parameter of a statement: objects and lists become `jsonb`, everything else itself.

    A list never becomes an array: it would depend on its content whether it can, and `[]` would turn into `{}` in a
    `jsonb` column.
    """
    return Jsonb(value, dumps=orjson.dumps) if isinstance(value, dict | list) else value


def as_json(value: Any) -> Any:  # noqa: PLR0911 a table: one line per type
    """A column's value as JSON that loses nothing.

    Numbers that are no exact JSON numbers (fractions in `numeric`, NaN, infinity) become strings, as do dates, UUIDs
    and all other types; intervals become seconds; `bytea` becomes `{"base64": ...}`.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else _not_finite(value)
        case Decimal():
            return _number(value)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes():
            return {"base64": base64.b64encode(value).decode()}
        case Mapping():
            return {str(key): as_json(child) for key, child in value.items()}
        case Sequence():
            return [as_json(child) for child in value]
        case _:
            return str(value)


def _number(value: Decimal) -> int | str:
    if not value.is_finite():
        return _not_finite(float(value))
    # sum() and count-like results are `numeric` without a fraction; money has one and must stay exact.
    exponent = value.as_tuple().exponent
    whole = isinstance(exponent, int) and exponent >= 0 and value.adjusted() < 19
    return int(value) if whole and -(2**63) <= int(value) < 2**63 else str(value)


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def as_database_error(error: psycopg.Error, connection: str) -> TaskError:
    """The task error for an error of psycopg.

    Retryable are lost connections and what passes by itself (deadlocks, serialization failures, a server that stops
    or is full). The values of rows (`DETAIL`) stay out: they may be anybody's data.
    """
    state = error.sqlstate
    text = storable_text(error.diag.message_primary or error)
    if state is None:
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return TaskError("connection", f"Connection {connection!r}: {text}")
        return invalid(f"The statement or its parameters cannot be sent: {text}")
    if state == STALE_LEASE:
        return TaskError("stale", "Another attempt owns the task by now; everything was rolled back.", retryable=False)
    if state == _CANCELLED and "timeout" in text:
        return TaskError("timeout", f"{TIMEOUT_MESSAGE}: connection {connection!r}: {text}")
    if state == _READ_ONLY:
        text += ' (write `"mode": "execute"` in the step)'
    facts = {
        "sqlstate": state,
        "hint": error.diag.message_hint,
        "schema": error.diag.schema_name,
        "table": error.diag.table_name,
        "column": error.diag.column_name,
        "constraint": error.diag.constraint_name,
    }
    return TaskError(
        f"database.{state}",
        text,
        retryable=state.startswith(_TRANSIENT) or state == _CANCELLED,
        details={name: value for name, value in facts.items() if value is not None},
    )
