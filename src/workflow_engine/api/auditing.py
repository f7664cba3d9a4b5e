"""Between the application and its callers: what was asked goes into the audit log before it is answered.

Starts, of which there are many, write their rows themselves, in the commit of what they start.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workflow_engine.access import NOBODY, Principal, hide_keys
from workflow_engine.api.audit_log import AuditLog, Entry
from workflow_engine.api.entering import client_address
from workflow_engine.api.problems import clip
from workflow_engine.store.pool import as_uuid

_REFUSED = frozenset({401, 403})
_NOBODY_WAITS = 499
_BUG = 500
_UNKNOWN = "unknown"  # a guard forbade it before it was looked up
_LONGEST_PATH = 500


class Auditing:
    """Inside `Envelope`, which gives requests their ids; `entering` says which of them change something."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answered = False

        async def audited(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start" and not answered:
                answered = True
                await _record(scope, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, audited)
        except BaseException as error:
            if not answered:
                is_bug = isinstance(error, Exception) and not isinstance(error, ClientDisconnect)
                await _record(scope, _BUG if is_bug else _NOBODY_WAITS)
            raise


async def _record(scope: Scope, status: int) -> None:
    if "audited" in scope or not (scope.get("changes") or status in _REFUSED):
        return
    log: AuditLog = scope["app"].state.services.audit_log
    entry = _entry(scope, status)
    if status in _REFUSED:
        await log.add_refused(entry)
        return
    await log.add(entry, *(replace(entry, workflow_id=id_) for id_ in scope.get("changed_workflows", ())))


def row_of(scope: Scope, status: int) -> Mapping[str, Any]:
    """The row of a request that is going to be answered so, for who writes it himself: see `was_audited`."""
    return _entry(scope, status).as_row()


def changed_workflows(scope: Scope, workflow_ids: Sequence[UUID]) -> None:
    """Note that a request changed all of these: each has a row of its own, by which it is found with its workflow."""
    scope["changed_workflows"] = workflow_ids


def told_why(scope: Scope, reason: str | None) -> None:
    """Note why who asks does it, as they say; keys in it have been hidden."""
    scope["reason"] = reason


def was_audited(scope: Scope) -> None:
    """Note that the row of a request has been written."""
    scope["audited"] = True


def _entry(scope: Scope, status: int) -> Entry:
    principal: Principal = scope.get("principal", NOBODY)
    query = scope["query_string"].decode("latin-1")
    path = f"{scope['path']}?{query}" if query else scope["path"]
    return Entry(
        principal=principal.name or None,
        key_id=principal.key_id,
        address=client_address(scope),
        request_id=scope["request_id"],
        method=scope["method"],
        path=clip(hide_keys(path.replace("\0", "")), _LONGEST_PATH),
        operation=scope.get("operation", _UNKNOWN),
        workflow_id=as_uuid(str(scope.get("workflow_id", ""))),
        status=status,
        at=time.monotonic(),
        reason=scope.get("reason"),
    )
