"""A run in markdown, for people, and in JSON, for comparison."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from chaos.faults import FAULTS
from chaos.run import Result, percentile, recoveries_of, vars_of

_SHOWN = 20  # of each list of a verdict
_TITLES = {
    "lost": "Accepted, and lost",
    "wrong": "Wrong ends",
    "double_success": "Successes recorded twice",
    "duplicate_start": "Starts doubled under one key",
    "phantom": "There though refused",
    "duplicate_effect": "Effects doubled at the target",
    "missing_effect": "Effects missing or different",
    "unexplained": "Calls repeated without a fault",
    "believed": "Bad requests that were not refused",
    "server_errors": "Answers 500, or 5xx that nobody knows",
    "invariants": "Invariants broken",
    "schedule": "Due times missed or doubled",
    "faults": "Faults that did not bite, or did more than they should",
    "slow": "Recoveries beyond their bound",
    "trouble": "Trouble",
}


def write(result: Result, directory: Path) -> Path:
    """Write `report.md` and `report.json`; returns the former."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "report.json").write_text(json.dumps(as_json(result), indent=2, default=str) + "\n")
    page = directory / "report.md"
    page.write_text(markdown(result))
    return page


def replay(result: Result) -> str:
    """The command that runs it again."""
    options = result.options
    words = [f"--seed {options.seed}", f"--minutes {options.minutes:g}"]
    words += [f"--{name} {value}" for name, value in (("engines", options.engines), ("workers", options.workers))]
    words += [f"--rate {options.rate:g}", *(f"--fault '{name}'" for name in options.faults)]
    return f'make chaos ARGS="{" ".join(words)}"'


def markdown(result: Result) -> str:
    figures, verdict = result.figures, vars_of(result.verdict)
    lines = [
        f"# Chaos: seed {result.options.seed}, {result.options.minutes:g} minutes: "
        f"{'passed' if result.passed else 'FAILED'}",
        "",
        f"    {replay(result)}",
        "",
        "| must be 0 | found |",
        "| --- | --- |",
        *(f"| {_TITLES[name]} | {len(found)} |" for name, found in verdict.items()),
    ]
    for name, found in verdict.items():
        if found:
            lines += ["", f"## {_TITLES[name]}", "", *(f"- {each}" for each in found[:_SHOWN])]
    lines += [
        "",
        "## Load",
        "",
        f"- workflows: {figures.submitted} submitted, {figures.accepted} accepted; {figures.unheard} starts had a try"
        f" without an answer and were repeated under their key; ends: {_counts(figures.by_status)}",
        f"- cases: {_counts(figures.by_kind)}",
        f"- {figures.tasks} tasks; attempts: {_counts(figures.attempts)}",
        f"- target: {figures.calls} calls, {figures.effects} effects; {figures.repeated_per_10k_tasks:g} calls per"
        " 10,000 tasks were repeated where the number is known before",
        f"- answers by status (0: none): {_counts(result.statuses)}; bad requests: {_counts(result.bad)}",
        f"- started again: {_counts(result.restarts)}",
        f"- steps that succeeded per second: {_rates(result)}",
        f"- invariants: looked at {result.sampler.looks} times while faults were inflicted, each time in one snapshot",
        f"- Postgres: {_counts({name: value for name, value in result.database.items() if name != 'tables'})};"
        f" dead rows: {_counts({row['relname']: row['dead'] for row in result.database['tables']})}",
        "",
        "## Recovery",
        "",
        "| fault | times | things that went on | p50 s | p95 s | max s | bound s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_recovery(name, values, result) for name, values in sorted(recoveries_of(result.inflicted).items())),
        "",
        "## Processes",
        "",
        "| process | memory MiB, first to last (most) | open files, most |",
        "| --- | --- | --- |",
        *(
            f"| {name} | {usage.rss_mib[0]:.0f} to {usage.rss_mib[-1]:.0f} ({max(usage.rss_mib):.0f}) "
            f"| {max(usage.files)} |"
            for name, usage in sorted(result.sampler.usage.items())
        ),
        "",
        "## Faults",
        "",
        "| s | fault | how it is known that it bit |",
        "| --- | --- | --- |",
        *(
            f"| {one.began - result.phases['faults']:.0f} | {one.fault} | {one.finding.proof or 'it did not'} |"
            for one in result.inflicted
        ),
        "",
    ]
    return "\n".join(lines)


def as_json(result: Result) -> dict[str, Any]:
    return {
        "passed": result.passed,
        "options": asdict(result.options),
        "replay": replay(result),
        "verdict": vars_of(result.verdict),
        "figures": asdict(result.figures),
        "faults": [asdict(one) for one in result.inflicted],
        "statuses": result.statuses,
        "bad_requests": result.bad,
        "restarts": result.restarts,
        "phases": result.phases,
        "database": result.database,
        "usage": {name: asdict(usage) for name, usage in result.sampler.usage.items()},
        "succeeded": result.sampler.succeeded,
    }


def _recovery(name: str, values: Sequence[float], result: Result) -> str:
    times = sum(one.fault == name for one in result.inflicted)
    bound = FAULTS[name].bound
    cells = (
        [f"{median(values):.2f}", f"{percentile(values, 0.95):.2f}", f"{max(values):.2f}"] if values else ["", "", ""]
    )
    return f"| {name} | {times} | {len(values)} | {' | '.join(cells)} | {'' if bound is None else f'{bound:g}'} |"


def _rates(result: Result) -> str:
    """Before and while faults are inflicted."""
    told = []
    for name, begin, end in (("before", "warm-up", "faults"), ("under faults", "faults", "heal")):
        seen = [(at, n) for at, n in result.sampler.succeeded if result.phases[begin] <= at <= result.phases[end]]
        if len(seen) > 1:
            told.append(f"{(seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0]):.0f} {name}")
    return ", ".join(told)


def _counts(counts: dict[Any, Any]) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in counts.items()) or "none"
