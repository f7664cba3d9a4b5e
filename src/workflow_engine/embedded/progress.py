"""Follow one workflow in the terminal: a table that moves, or one line per change where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Any

import httpx
from rich.console import Console
from rich.live import Live
from rich.table import Table

from workflow_engine.errors import StackUnavailable
from workflow_engine.states import TERMINAL_WORKFLOW_STATUSES

_LOOK_SECONDS = 0.05
_COLOURS = {
    "succeeded": "green",
    "failed": "red",
    "cancelled": "red",
    "running": "yellow",
    "scheduled": "yellow",
    "waiting": "yellow",
}


def follow(
    console: Console, api: httpx.Client, workflow_id: str, steps: Sequence[str], timeout: float
) -> Mapping[str, Any]:
    """Show the steps of a workflow until it ends; returns the workflow as the API has it then.

    Raises:
        StackUnavailable: It did not end within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    shown: dict[str, tuple[str, int]] = {}
    with Live(console=console, auto_refresh=False) if console.is_terminal else nullcontext() as live:
        while time.monotonic() < deadline:
            # The workflow first: when it has ended, the tasks that are read after it are the final ones.
            workflow: Mapping[str, Any] = api.get(f"/workflows/{workflow_id}").raise_for_status().json()
            tasks = _tasks(api, workflow_id, steps)
            if live:
                live.update(_steps_table(tasks), refresh=True)
            else:
                _print_changes(console, tasks, shown)
            if workflow["status"] in TERMINAL_WORKFLOW_STATUSES:
                return workflow
            time.sleep(_LOOK_SECONDS)
    raise StackUnavailable(f"Workflow {workflow_id} did not end within {timeout:g} s")


def _tasks(api: httpx.Client, workflow_id: str, steps: Sequence[str]) -> list[Mapping[str, Any]]:
    tasks: list[Mapping[str, Any]] = api.get(f"/workflows/{workflow_id}/tasks").raise_for_status().json()
    return sorted(tasks, key=lambda task: steps.index(task["step"]))


def trace_table(attempts: Sequence[Mapping[str, Any]]) -> Table:
    """What `/trace` answered, a line per attempt: who ran it, how long it waited for a worker, how long it took."""
    table = _table("step", "attempt", "state", "worker", "queued at", "waited", "ran")
    for entry in attempts:
        table.add_row(
            entry["step"],
            str(entry["attempt"]),
            _coloured(entry["status"]),
            entry["worker"],
            entry["queued_at"][11:23],  # the time of day
            _milliseconds(entry["wait_s"]),
            _milliseconds(entry["run_s"]),
        )
    return table


def _steps_table(tasks: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("step", "type", "state", "attempt", "time")
    for task in tasks:
        table.add_row(
            task["step"], task["type"], _coloured(task["status"]), str(task["attempt"] or ""), _duration(task)
        )
    return table


def _table(*titles: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in titles:
        table.add_column(title, min_width=10, no_wrap=True)
    return table


def _coloured(status: str) -> str:
    return f"[{_COLOURS.get(status, 'dim')}]{status}[/]"


def _print_changes(console: Console, tasks: Sequence[Mapping[str, Any]], shown: dict[str, tuple[str, int]]) -> None:
    for task in tasks:
        now = (task["status"], task["attempt"])
        if shown.get(task["step"]) != now:
            shown[task["step"]] = now
            attempt = f"attempt {task['attempt']}" if task["attempt"] else ""
            console.print(
                f"{task['step']:10} {task['type']:10} {task['status']:10} {attempt:10} {_duration(task)}".rstrip()
            )


def _duration(task: Mapping[str, Any]) -> str:
    if not task.get("started_at") or not task.get("finished_at"):
        return ""
    started, finished = (datetime.fromisoformat(task[name]) for name in ("started_at", "finished_at"))
    return _milliseconds((finished - started).total_seconds())


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.0f} ms"
