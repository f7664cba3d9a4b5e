"""Make the dashboards, or check them.

`python -m deploy.grafana [--engine-url https://workflows.example.com] [--output FOLDER]`
`python -m deploy.grafana --check`: a line for each fault, and exit code 1 if there is one
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.grafana import engine, lint, queue
from workflow_engine.observability.gauges import DatabaseGauges
from workflow_engine.observability.labels import Labels

FOLDER = Path(__file__).with_name("dashboards")
ENGINE_URL = "http://localhost:3003"
METRICS = Path(__file__).parents[2] / "docs" / "metrics.md"

NOT_SHOWN = {
    "workflow_definitions",  # says little over time
    "workflow_history_partitions_dropped_total",  # retention works by itself
    "workflow_workflows_deleted_total",
}
"""Metrics that no dashboard shows."""


def dashboards(engine_url: str = ENGINE_URL) -> dict[str, dict[str, Any]]:
    """By uid."""
    return {module.UID: module.dashboard(engine_url) for module in (engine, queue)}


def text(dashboard: dict[str, Any]) -> str:
    """As it is in the file."""
    return json.dumps(dashboard, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def write(folder: Path, engine_url: str) -> None:
    """Write a file for each."""
    folder.mkdir(parents=True, exist_ok=True)
    for uid, dashboard in dashboards(engine_url).items():
        (folder / f"{uid}.json").write_text(text(dashboard))


def faults(folder: Path = FOLDER) -> Iterator[str]:
    """What is wrong with the files, one line each."""
    made = dashboards()
    shared = {family.name for family in DatabaseGauges(Labels(0)).describe()}
    for uid, dashboard in made.items():
        yield from (f"{uid}: {fault}" for fault in lint.faults(dashboard, shared))
        file = folder / f"{uid}.json"
        if not file.exists() or file.read_text() != text(dashboard):
            yield f"{file.name} is not what the code makes: run make dashboards"
    asked = {re.sub("_(bucket|sum|count)$", "", name) for dashboard in made.values() for name in lint.series(dashboard)}
    documented = set(re.findall(r"^\| `(\w+)` \|", METRICS.read_text(), re.MULTILINE))
    yield from (f"no dashboard shows {name}" for name in sorted(documented - asked - NOT_SHOWN))
    yield from (f"a dashboard shows {name}, or nothing exports it" for name in sorted(NOT_SHOWN - (documented - asked)))


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the Grafana dashboards, or check them.")
    parser.add_argument("--engine-url", default=ENGINE_URL, help="where the engine's own pages are, for links to them")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of the files")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if something is wrong")
    arguments = parser.parse_args()
    if not arguments.check:
        write(arguments.output, arguments.engine_url.rstrip("/"))
        return 0
    found = list(faults(arguments.output))
    for fault in found:
        print(f"dashboards: {fault}")
    if not found:
        print(f"dashboards: {', '.join(dashboards())}: fine")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
