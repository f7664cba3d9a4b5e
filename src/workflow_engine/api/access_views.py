"""The shape of who asks and of what was asked in answers."""

from __future__ import annotations

from typing import Any

from workflow_engine.access import Principal, Scope
from workflow_engine.records import AuditRow

WHO_AM_I: dict[str, Any] = {
    "auth": "token",
    "name": "ann",
    "key_id": "k3v9x0q2m7ap",
    "roles": ["viewer"],
    "groups": ["finance"],
    "scopes": ["workflows:read", "definitions:read", "engine:read", "metrics:read"],
    "expires_at": "2027-01-31T12:00:00Z",
}
AUDIT_ROW: dict[str, Any] = {
    "id": "4711",
    "at": "2026-01-31T12:00:00Z",
    "principal": "ann",
    "key_id": "k3v9x0q2m7ap",
    "address": "10.1.2.3",
    "request_id": "5f1f0a8e6c1b4c3f9a0f6f0a3c0d9a52",
    "method": "POST",
    "path": "/api/v1/workflows/0198c2f4-5a3e-7c41-9d3b-0f6b1f0e2a77/cancel",
    "operation": "workflows_cancel",
    "workflow_id": "0198c2f4-5a3e-7c41-9d3b-0f6b1f0e2a77",
    "status": 202,
    "times": 1,
    "reason": "No longer needed.",
}


def who_am_i(principal: Principal, *, needs_keys: bool) -> dict[str, Any]:
    return {
        "auth": "token" if needs_keys else "none",
        "name": principal.name or None,
        "key_id": principal.key_id,
        "roles": list(principal.roles),
        "groups": list(principal.groups),
        "scopes": [scope for scope in Scope if ":" in scope and principal.may(scope)],
        "expires_at": principal.expires_at,
    }


def audit_row(row: AuditRow) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "at": row.at,
        "principal": row.principal,
        "key_id": row.key_id,
        "address": row.address,
        "request_id": row.request_id,
        "method": row.method,
        "path": row.path,
        "operation": row.operation,
        "workflow_id": None if row.workflow_id is None else str(row.workflow_id),
        "status": row.status,
        "times": row.times,
        "reason": row.reason,
    }
