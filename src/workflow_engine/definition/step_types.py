"""The built-in task types: which fields each has, which it needs, and what of them can be checked beforehand.

A field whose value is a template is checked only as far as it is fixed: what `${ }` gives is known at run time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from workflow_engine.definition.database_fields import STATEMENT_FIELDS, check_database, is_bare_record
from workflow_engine.definition.faults import clipped, did_you_mean, join
from workflow_engine.definition.fields import Fields
from workflow_engine.definition.http_request import check_headers, check_method, check_url
from workflow_engine.definition.limits import MAX_TIMEOUT
from workflow_engine.definition.own_fields import OwnFields
from workflow_engine.definition.scope import json_type
from workflow_engine.definition.waiting_types import (
    check_approval,
    check_child,
    check_emit,
    check_signal,
    check_switch,
    check_terminate,
    check_wait,
)

_FAIL_TYPE = re.compile(r"[A-Za-z0-9_.-]{1,100}")


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
        open_unless: When none of these fields is given, `inputs` may hold any other field.
        apart: Fields that stand on the step itself only, and are read elsewhere.
        bare: Own fields that hold an expression without `${ }`.
        secrets: Whether its own fields may use secrets: they leave the engine and are not stored by it.
    """

    fields: Mapping[str, type | tuple[type, ...] | None] = field(default_factory=dict)
    needs: tuple[tuple[str, ...], ...] = ()
    excludes: tuple[tuple[str, ...], ...] = ()
    check: Check | None = None
    takes_dependencies: Callable[[Mapping[str, Any]], bool] = lambda values: False
    open_unless: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    secrets: bool = False


def check_own_fields(step_type: StepType, own: OwnFields) -> None:
    """Note what is wrong with the own fields of a step of a built-in type."""
    is_open = bool(step_type.open_unless) and not own.has(*step_type.open_unless)
    for name, value in own.values.items():
        if name not in step_type.fields and is_open:
            if hint := did_you_mean(name, step_type.open_unless):
                own.warnings.add(own.places[name], "near-miss", f"is stored as a part of the record{hint}")
        elif name not in step_type.fields:
            known = ", ".join(step_type.fields) or "no own fields"
            hint = did_you_mean(name, step_type.fields) or f"; its own fields are {known}"
            own.refuse(name, f"unknown field {clipped(name)}{hint}", "unknown-property")
        elif not _fits(value, step_type.fields[name]):
            own.refuse(name, f"{json_type(value)} is not accepted here; must be {_kinds(step_type.fields[name])}")
    for group in step_type.needs:
        if not own.has(*group):
            where = " under `inputs`" if any(name in own.common for name in group) else ""
            own.refuse("", f"needs {' or '.join(f'`{name}`' for name in group)}{where}")
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
    names = {
        str: "a string",
        int: "an integer",
        float: "a number",
        bool: "true or false",
        dict: "an object",
        list: "a list",
    }
    return " or ".join(names[one] for one in kinds if one is not None)


def _check_http(own: OwnFields) -> None:
    values, places = own.values, own.places
    if "method" in values:
        check_method(values["method"], places["method"], own.faults)
    if "url" in values:
        check_url(values["url"], places["url"], own.faults, own.warnings)
    if "headers" in values:
        check_headers(values["headers"], places["headers"], own.faults)
    auth = values.get("auth")
    if isinstance(auth, dict) and (len(auth) != 1 or not auth.keys() <= {"basic", "bearer"}):
        own.refuse("auth", "holds either `basic` (username, password) or `bearer` (a token)")
    timeouts = values.get("timeouts")
    if isinstance(timeouts, dict):
        part = Fields(timeouts, places["timeouts"], own.faults)
        part.refuse_unknown(("connect", "read"))
        for name in timeouts:
            part.duration(name, most=MAX_TIMEOUT)


def _check_agent(own: OwnFields) -> None:
    agent = own.values.get("agent")
    if agent == "":
        own.refuse("agent", "must name an agent")
    elif isinstance(agent, str) and "://" in agent:
        check_url(agent, own.places["agent"], own.faults, own.warnings)


def _check_llm(own: OwnFields) -> None:
    params = own.values.get("params")
    most = params.get("max_tokens") if isinstance(params, dict) else None
    if isinstance(most, int) and (isinstance(most, bool) or most < 1):
        own.faults.add(join(own.places["params"], "max_tokens"), "validation-error", "must be at least 1")
    messages = own.values.get("messages")
    if messages == []:
        own.refuse("messages", "must hold at least one message")
    for index, message in enumerate(messages if isinstance(messages, list) else ()):
        is_template = isinstance(message, str) and message.startswith("${")
        if not is_template and not (isinstance(message, dict) and "role" in message):
            place = join(own.places["messages"], index)
            own.faults.add(place, "validation-error", 'a message is an object such as {"role": "user", "content": ""}')


def _check_tool(own: OwnFields) -> None:
    server = own.values.get("server")
    if isinstance(server, str) and "://" in server:
        check_url(server, own.places["server"], own.faults, own.warnings)


def _check_fail(own: OwnFields) -> None:
    kind = own.values.get("type")
    if isinstance(kind, str) and "${" not in kind and not _FAIL_TYPE.fullmatch(kind):
        own.refuse("type", f"{clipped(kind)} is not accepted: up to 100 of A-Z a-z 0-9 _ . -")


INTERNAL_TYPES = ("for_each", "loop")
"""What a step with the field of that name becomes."""
CONTAINERS = ("block", "workflow")
"""Types whose tasks wait while others do the work."""
WAITING_TYPES = (*CONTAINERS, "wait", "signal", "approval")
"""Types whose tasks wait outside of a worker."""
NOT_REPEATED = ("switch", "terminate")
"""Types that say something about the steps around them."""

BUILT_IN_TYPES: Mapping[str, StepType] = {
    "http": StepType(
        fields={
            "method": str,
            "url": str,
            "headers": dict,
            "query": dict,
            "body": None,
            "auth": dict,
            "success_when": str,
            "timeouts": dict,
        },
        needs=(("url",),),
        check=_check_http,
        bare=("success_when",),
        secrets=True,
    ),
    "agent": StepType(
        fields={"agent": str, "goal": str, "input": None, "skills": list, "context": None},
        needs=(("agent",),),
        check=_check_agent,
        takes_dependencies=lambda values: "input" not in values,
        secrets=True,
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
        secrets=True,
    ),
    "tool": StepType(
        fields={"server": str, "tool": str, "arguments": dict},
        needs=(("server",), ("tool",)),
        check=_check_tool,
        secrets=True,
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
        },
        excludes=(("statement", "statements"),),
        check=check_database,
        takes_dependencies=is_bare_record,
        open_unless=STATEMENT_FIELDS,
        secrets=True,
    ),
    "transform": StepType(
        fields={"expression": str, "value": None}, needs=(("expression", "value"),), bare=("expression",)
    ),
    "switch": StepType(fields={"mode": str}, check=check_switch, apart=("cases", "default")),
    "block": StepType(apart=("steps",)),
    "workflow": StepType(
        fields={
            "name": str,
            "version": int,
            "input": None,
            "definition": dict,
            "wait": bool,
            "on_parent_cancel": str,
        },
        needs=(("name", "definition"),),
        check=check_child,
    ),
    "wait": StepType(
        fields={"duration": (str, int, float), "until": str}, needs=(("duration", "until"),), check=check_wait
    ),
    "signal": StepType(
        fields={"name": str, "match": str, "count": int, "timeout": (str, int, float), "on_timeout": str},
        needs=(("name",),),
        check=check_signal,
        bare=("match",),
    ),
    "approval": StepType(
        fields={
            "prompt": str,
            "form_schema": dict,
            "assignees": list,
            "timeout": (str, int, float),
            "on_timeout": str,
            "outcomes": list,
        },
        check=check_approval,
    ),
    "emit": StepType(
        fields={"name": str, "payload": None, "to": str, "workflow_id": str, "url": str},
        needs=(("name",),),
        check=check_emit,
    ),
    "terminate": StepType(fields={"status": str, "reason": str, "output": None}, check=check_terminate),
    "noop": StepType(),
    "fail": StepType(fields={"type": str, "message": str}, check=_check_fail),
}
"""By name. All other types are registered by workers."""
