"""What can be told about a `database` step before it runs.

With a statement it runs SQL; without one it stores its inputs, or else the outputs of its dependencies, as a record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from workflow_engine.definition.faults import clipped, did_you_mean, join
from workflow_engine.definition.own_fields import OwnFields
from workflow_engine.definition.sql_text import check_statement

ENGINE_CONNECTION = "engine"
"""The engine's own database, by a role of little privilege: the default."""
STATEMENT_FIELDS = ("statement", "statements")
MAX_ROWS = 100_000
MAX_STATEMENTS = 100
MAX_SQL_LENGTH = 100_000

_CONNECTION = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_FOR_STATEMENTS = ("params", "mode", "max_rows")
_WITHOUT_DATA = ("connection", "transactional")


def is_bare_record(values: Mapping[str, Any]) -> bool:
    """Whether a step stores the outputs of its dependencies, having neither a statement nor data of its own."""
    return not values.keys() - set(_WITHOUT_DATA)


def check_database(own: OwnFields) -> None:
    values = own.values
    connection = values.get("connection", ENGINE_CONNECTION)
    if isinstance(connection, str) and not _CONNECTION.fullmatch(connection):
        # Not echoed: what is mistaken for a name is often a DSN with its password.
        own.refuse("connection", "must be the name of a configured connection, never its address", "unknown-connection")
        return
    if (
        own.connections is not None
        and isinstance(connection, str)
        and connection not in (ENGINE_CONNECTION, *own.connections)
    ):
        hint = did_you_mean(connection, own.connections)
        own.refuse("connection", f"there is no connection {clipped(connection)}{hint}", "unknown-connection")
    if own.has(*STATEMENT_FIELDS):
        _check_options(own, connection)
        _check_statements(own)
        return
    for name in _FOR_STATEMENTS:
        if name in values:
            own.refuse(name, f"`{name}` needs a `statement`; without one the step stores its inputs as a record")
    if connection != ENGINE_CONNECTION:
        own.refuse("connection", f"needs a `statement`; records are stored on `{ENGINE_CONNECTION}` only")


def _check_options(own: OwnFields, connection: object) -> None:
    values = own.values
    if values.get("mode", "query") not in ("query", "execute"):
        own.refuse("mode", f"{clipped(values['mode'])} is not accepted; write query or execute")
    rows = values.get("max_rows", 1)
    if isinstance(rows, int) and not 1 <= rows <= MAX_ROWS:
        own.refuse("max_rows", f"must be an integer from 1 to {MAX_ROWS:,}", "out-of-range")
    if values.get("transactional") is not True:
        return
    if connection != ENGINE_CONNECTION:
        own.refuse("transactional", f"works on the connection `{ENGINE_CONNECTION}` only: one commit, one database")
    if values.get("mode") == "query":
        own.refuse("mode", "a transactional step completes its task in the transaction: write execute")


def _check_statements(own: OwnFields) -> None:
    if "statement" in own.values:
        _check_sql(own, own.values["statement"], own.places["statement"])
    statements = own.values.get("statements")
    if isinstance(statements, str):
        _check_sql(own, statements, own.places["statements"])
    if not isinstance(statements, list):
        return
    if not 1 <= len(statements) <= MAX_STATEMENTS:
        own.refuse("statements", f"must hold 1 to {MAX_STATEMENTS} statements")
    if "params" in own.values:
        own.refuse("params", 'with `statements` each has its own: {"statement": "...", "params": {}}')
    for index, one in enumerate(statements):
        place = join(own.places["statements"], index)
        if isinstance(one, str):
            _check_sql(own, one, place)
        elif isinstance(one, dict) and isinstance(one.get("statement"), str) and one.keys() <= {"statement", "params"}:
            _check_sql(own, one["statement"], join(place, "statement"))
        else:
            message = 'must be a string or {"statement": "...", "params": {}}'
            own.faults.add(place, "validation-error", message)


def _check_sql(own: OwnFields, sql: object, place: str) -> None:
    if isinstance(sql, str) and len(sql) > MAX_SQL_LENGTH:
        own.faults.add(place, "out-of-range", f"is longer than {MAX_SQL_LENGTH:,} characters")
    else:
        check_statement(sql, place, own.faults)
