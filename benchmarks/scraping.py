"""Reads the workers' own metrics, which costs the database nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.request import urlopen

_LINE = re.compile(r"^([a-z_]+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
_BOUND = re.compile(r'le="([^"]+)"')
_TURN_BUCKETS = "workflow_worker_turn_duration_seconds_bucket"


def scrape(port: int) -> dict[str, float]:
    """The series of the process whose metrics are at that port of this machine, by name and labels."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {f"{name}{{{labels}}}": float(value) for name, labels, value in _LINE.findall(text)}


def total(scraped: Sequence[Mapping[str, float]], name: str) -> float:
    """The sum of a metric over its labels and over processes."""
    return sum(value for series in scraped for key, value in series.items() if key.startswith(f"{name}{{"))


def completed(ports: Sequence[int]) -> int:
    """How many attempts these workers have ended."""
    return int(total([scrape(port) for port in ports], "workflow_tasks_completed_total"))


def turn_buckets(scraped: Sequence[Mapping[str, float]]) -> dict[float, float]:
    """How many turns took at most so many seconds, by that bound."""
    buckets: dict[float, float] = {}
    for series in scraped:
        for key, value in series.items():
            if key.startswith(_TURN_BUCKETS) and (bound := _BOUND.search(key)):
                seconds = float(bound.group(1))
                buckets[seconds] = buckets.get(seconds, 0.0) + value
    return buckets


def quantile(before: Mapping[float, float], after: Mapping[float, float], share: float) -> float | None:
    """The duration in seconds below which that share of the turns between two readings lies, by interpolation within
    its bucket; None without turns."""
    counts = sorted((bound, count - before.get(bound, 0.0)) for bound, count in after.items())
    if not counts or counts[-1][1] <= 0:
        return None
    wanted = share * counts[-1][1]
    low_bound, low_count = 0.0, 0.0
    for bound, count in counts:
        if count >= wanted:
            if bound == float("inf") or count == low_count:
                return low_bound
            return low_bound + (bound - low_bound) * (wanted - low_count) / (count - low_count)
        low_bound, low_count = bound, count
    return low_bound
