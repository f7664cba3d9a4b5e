"""The built-in task types: which fields each has, which it needs, and what of them can be checked beforehand.

A field whose value is a template is checked only as far as it is fixed: what `${ }` gives is known at run time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from workflow_engine.definition.faults import Faults, clipped, did_you_mean, join
from workflow_engine.definition.http_request import check_headers, check_method, check_url
from workflow_engine.definition.scope import json_type
from workflow_engine.definition.sql_text import check_statement

MAX_ROWS = 10_000
MAX_SQL_LENGTH = 100_000

_CONNECTION = re.compile(r"[a-z][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class OwnFields:
    """The own fields of one step, with their places (flat style and `inputs` differ)."""

    values: Mapping[str, Any]
    places: Mapping[str, str]
    pointer: str  # of the step
    faults: Faults
    warnings: Faults

    def refuse(self, name: str, message: str, code: str = "validation-error") -> None:
        self.faults.add(self.places.get(name, self.pointer), code, message)


Check = Callable[[OwnFields], None]


@dataclass(frozen=True, slots=True)
class StepType:
    """One built-in task type.

    Attributes:
        fields: Its own fields and the JSON type of each; `any` = whatever.
        needs: Groups of fields; exactly one field of each group must be given.
        excludes: Groups of fields of which at most one may be given.
        check: Further checks.
        takes_dependencies: Whether, given its own fields, it works on the outputs of its dependencies.
        later: Fields the language has and this engine does not yet support.
    """

    fields: Mapping[str, type | tuple[type, ...] | None] = field(default_factory=dict)
    needs: tuple[tuple[str, ...], ...] = ()
    excludes: tuple[tuple[str, ...], ...] = ()
    check: Check | None = None
    takes_dependencies: Callable[[Mapping[str, Any]], bool] = lambda values: False
    later: tuple[str, ...] = ()


def check_own_fields(step_type: StepType, own: OwnFields) -> None:
    """Note what is wrong with the own fields of a step of a built-in type."""
    for name, value in own.values.items():
        if name in step_type.later:
            own.refuse(name, f"`{name}` is not supported by this version of the engine", "unknown-property")
        elif name not in step_type.fields:
            known = ", ".join(step_type.fields) or "no own fields"
            hint = did_you_mean(name, step_type.fields) or f"; its own fields are {known}"
            own.refuse(name, f"unknown field {clipped(name)}{hint}", "unknown-property")
        elif not _fits(value, step_type.fields[name]):
            own.refuse(name, f"{json_type(value)} is not accepted here; must be {_kinds(step_type.fields[name])}")
    for group in step_type.needs:
        if not any(name in own.values for name in group):
            own.refuse("", f"needs {' or '.join(f'`{name}`' for name in group)}")
    for group in (*step_type.needs, *step_type.excludes):
        given = [name for name in group if name in own.values]
        for name in given[1:]:
            own.refuse(name, f"`{name}` and `{given[0]}` cannot be given together")
    if step_type.check is not None:
        step_type.check(own)


def _fits(value: Any, kind: type | tuple[type, ...] | None) -> bool:
    if kind is None or (isinstance(value, str) and value.startswith("${")):
        return True
    return isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool)


def _kinds(kind: type | tuple[type, ...] | None) -> str:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    names = {str: "a string", int: "an integer", bool: "true or false", dict: "an object", list: "a list"}
    return " or ".join(names[one] for one in kinds if one is not None)


def _check_http(own: OwnFields) -> None:
    values, places = own.values, own.places
    if "method" in values:
        check_method(values["method"], places["method"], own.faults)
    if "url" in values:
        check_url(values["url"], places["url"], own.faults, own.warnings)
    if "headers" in values:
        check_headers(values["headers"], places["headers"], own.faults)


def _check_agent(own: OwnFields) -> None:
    if own.values.get("agent") == "":
        own.refuse("agent", "must name an agent")


def _check_llm(own: OwnFields) -> None:
    params = own.values.get("params")
    most = params.get("max_tokens") if isinstance(params, dict) else None
    if isinstance(most, int) and (isinstance(most, bool) or most < 1):
        own.faults.add(join(own.places["params"], "max_tokens"), "validation-error", "must be at least 1")
    for index, message in enumerate(messages if isinstance(messages := own.values.get("messages"), list) else ()):
        if not isinstance(message, dict | str) or (isinstance(message, dict) and "role" not in message):
            place = join(own.places["messages"], index)
            own.faults.add(place, "validation-error", 'a message is an object such as {"role": "user", "content": ""}')


def _check_database(own: OwnFields) -> None:
    values = own.values
    connection = values.get("connection")
    if isinstance(connection, str) and not _CONNECTION.fullmatch(connection):
        # Not echoed: what is mistaken for a name is often a DSN with its password.
        own.refuse("connection", "must be the name of a configured connection, never its address", "unknown-connection")
    if values.get("mode", "query") not in ("query", "execute"):
        own.refuse("mode", f"{clipped(values['mode'])} is not accepted; write query or execute")
    rows = values.get("max_rows", 1)
    if isinstance(rows, int) and not 1 <= rows <= MAX_ROWS:
        own.refuse("max_rows", f"must be an integer from 1 to {MAX_ROWS:,}", "out-of-range")
    _check_statements(own)
    if "statement" in values or "statements" in values:
        if "input" in values:
            own.refuse("input", "`input` is what a step without a statement stores; give a statement `params`")
        return
    for name in ("connection", "params", "mode", "transactional", "max_rows"):
        if name in values:
            own.refuse(name, f"`{name}` needs a `statement`; without one the step stores its input as a record")


def _check_statements(own: OwnFields) -> None:
    values, places = own.values, own.places
    if "statement" in values:
        _check_sql(values["statement"], places["statement"], own.faults)
    statements = values.get("statements")
    if isinstance(statements, str) and "${" in statements:
        check_statement(statements, places["statements"], own.faults)
    for index, statement in enumerate(statements if isinstance(statements, list) else ()):
        place = join(places["statements"], index)
        if isinstance(statement, str):
            _check_sql(statement, place, own.faults)
        else:
            own.faults.add(place, "validation-error", "each statement is a string; they share `params`")
    if statements == []:
        own.refuse("statements", "must hold at least one statement")


def _check_sql(sql: object, place: str, faults: Faults) -> None:
    if isinstance(sql, str) and len(sql) > MAX_SQL_LENGTH:
        faults.add(place, "out-of-range", f"is longer than {MAX_SQL_LENGTH:,} characters")
    else:
        check_statement(sql, place, faults)


BUILT_IN_TYPES: Mapping[str, StepType] = {
    "http": StepType(
        fields={"method": str, "url": str, "headers": dict, "query": dict, "body": None},
        needs=(("url",),),
        check=_check_http,
        later=("auth", "success_when", "timeouts"),
    ),
    "agent": StepType(
        fields={"agent": str, "goal": str, "input": None, "skills": list, "context": None},
        needs=(("agent",),),
        check=_check_agent,
        takes_dependencies=lambda values: "input" not in values,
    ),
    "llm_inference": StepType(
        fields={
            "model": str,
            "messages": list,
            "prompt": str,
            "system": str,
            "params": dict,
            "tools": list,
            "response_schema": dict,
        },
        needs=(("messages", "prompt"),),
        check=_check_llm,
    ),
    "database": StepType(
        fields={
            "connection": str,
            "statement": str,
            "statements": list,
            "params": (dict, list),
            "mode": str,
            "transactional": bool,
            "max_rows": int,
            "input": None,
        },
        excludes=(("statement", "statements"),),
        check=_check_database,
        takes_dependencies=lambda values: not values.keys() & {"statement", "statements", "input"},
    ),
    "transform": StepType(fields={"expression": str, "value": None}, needs=(("expression", "value"),)),
    "noop": StepType(),
    "fail": StepType(fields={"type": str, "message": str}),
}
"""By name. All other types are registered by workers."""
