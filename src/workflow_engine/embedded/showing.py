"""The show of the demo: one workflow from its submission to its stored record, on a stack that is ready."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row
from rich.console import Console

from workflow_engine.embedded.progress import follow, trace_table
from workflow_engine.embedded.terminal import create_workflow_body

FINISH_SECONDS = 60.0


def show(console: Console, facts: Mapping[str, Any]) -> bool:
    """Submit the runbook's workflow, follow it to its end, print its trace and its record.

    Args:
        console: Where to print.
        facts: The content of the stack's `stack.json`.

    Returns:
        Whether the workflow succeeded.

    Raises:
        StackUnavailable: It did not end in time.
    """
    body = create_workflow_body(f"{facts['standins']['echo']}/orders")
    with httpx.Client(base_url=f"{facts['url']}/api/v1", timeout=10, trust_env=False) as api:
        console.print(f"POST {facts['url']}/api/v1/workflows\n{json.dumps(body)}", markup=False)
        answer = api.post("/workflows", json=body)
        console.print(f"{answer.status_code} {answer.text}", markup=False)
        if answer.status_code != httpx.codes.ACCEPTED:
            return False
        workflow_id = answer.json()["id"]
        workflow = follow(console, api, workflow_id, [step["id"] for step in body["steps"]], FINISH_SECONDS)
        succeeded: bool = workflow["status"] == "succeeded"
        colour = "green" if succeeded else "red"
        console.print(f"\nWorkflow {workflow_id}: [{colour}]{workflow['status']}[/]")
        if workflow.get("error"):
            console.print_json(data=workflow["error"])
        console.print(f"\nTrace (GET /api/v1/workflows/{workflow_id}/trace)")
        console.print(trace_table(api.get(f"/workflows/{workflow_id}/trace").raise_for_status().json()))
    console.print("\nStored record (SELECT * FROM workflow.records)")
    for record in _records(facts["database_url"], workflow_id):
        console.print_json(data=record, default=str)
    return succeeded


def _records(database_url: str, workflow_id: str) -> list[dict[str, Any]]:
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        return connection.execute("SELECT * FROM workflow.records WHERE workflow_id = %s", [workflow_id]).fetchall()
