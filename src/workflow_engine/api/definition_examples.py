"""Examples of the OpenAPI document: the runbook's definition, registered, changed and compared. See `examples`."""

from __future__ import annotations

from typing import Any

from workflow_engine.api.examples import CREATE_WORKFLOW, VERSIONS
from workflow_engine.definition.diff import as_yaml, unified

_PATH = "/api/v1/definitions/data-pipeline"
_CREATED = "2026-01-31T12:00:00Z"
_FETCH, _PROCESS, _STORE = CREATE_WORKFLOW["steps"]

DOCUMENT: dict[str, Any] = CREATE_WORKFLOW
YAML = as_yaml(DOCUMENT)
_CHANGED: dict[str, Any] = {
    **DOCUMENT,
    "steps": [_FETCH, {**_PROCESS, "retries": 5}, {"id": "audit", "type": "noop", "depends_on": ["process"]}],
}

SUMMARY: dict[str, Any] = {
    "name": "data-pipeline",
    "latest_version": 1,
    "pinned_version": None,
    "disabled": False,
    "disabled_at": None,
    "created_at": _CREATED,
    "updated_at": _CREATED,
    "links": {"self": _PATH, "versions": f"{_PATH}/versions", "diff": f"{_PATH}/diff"},
}
VERSION: dict[str, Any] = VERSIONS["versions"][0]
DEFINITION: dict[str, Any] = {
    **SUMMARY,
    "version": 1,
    "hash": VERSION["hash"],
    "registered_at": _CREATED,
    "definition": DOCUMENT,
}
DELETED: dict[str, Any] = {**SUMMARY, "disabled": True, "disabled_at": "2026-02-01T08:00:00Z"}
REGISTERED: dict[str, Any] = {
    "name": "data-pipeline",
    "version": 1,
    "hash": VERSION["hash"],
    "registered_at": _CREATED,
    "warnings": [],
    "links": {"self": f"{_PATH}/versions/1"},
}
VALIDATION: dict[str, Any] = {
    "valid": False,
    "name": "data-pipeline",
    "hash": None,
    "version": None,
    "faults": [
        {
            "pointer": "/steps/1/depends_on/0",
            "code": "unknown-dependency",
            "message": "there is no step 'fetsh'; did you mean \"fetch\"?",
        }
    ],
    "warnings": [],
}
DIFFERENCE: dict[str, Any] = {
    "name": "data-pipeline",
    "from": 1,
    "to": 2,
    "steps": {
        "added": [{"id": "audit", "pointer": "/steps/2"}],
        "removed": [{"id": "store", "pointer": "/steps/2"}],
        "changed": [
            {
                "id": "process",
                "pointer": "/steps/1",
                "changes": [{"pointer": "/steps/1/retries", "change": "added", "from": None, "to": 5}],
            }
        ],
    },
    "fields": [],
}
DIFFERENCE_TEXT = unified(DOCUMENT, _CHANGED, "data-pipeline@1", "data-pipeline@2")
