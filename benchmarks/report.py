"""Figures with their spread, and the table and JSON they end in."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(slots=True)
class Figure:
    """One measured quantity over its repetitions."""

    name: str
    unit: str
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def text(self) -> str:
        """Median and range, with as many digits as mean something."""
        digits = 0 if self.median >= 100 else 1 if self.median >= 10 else 2
        parts = [f"{value:,.{digits}f}" for value in (self.median, min(self.values), max(self.values))]
        return f"{parts[0]:>8}  ({parts[1]} to {parts[2]})"

    def percentile(self, share: float) -> float:
        ordered = sorted(self.values)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]

    def ratio_to(self, other: Figure) -> float:
        """Median of the ratios round by round: a slow phase of the machine slows both sides of a round."""
        return median(a / b for a, b in zip(self.values, other.values, strict=True))


@dataclass(frozen=True, slots=True)
class Row:
    """A figure in its table, with what it is compared to."""

    figure: Figure
    ratios: tuple[tuple[str, float], ...] = ()
    goal: str = ""
    met: bool | None = None  # None: there is no goal

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.figure.name,
            "unit": self.figure.unit,
            "median": self.figure.median,
            "values": self.figure.values,
            "ratios": dict(self.ratios),
            "goal": self.goal,
            "met": self.met,
        }


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    def print(self) -> None:
        print(f"\n{self.title}")
        for row in self.rows:
            ratios = "   ".join(f"{label} {value:.2f}" for label, value in row.ratios)
            verdict = {None: "", True: f"goal {row.goal}: met", False: f"goal {row.goal}: MISSED"}[row.met]
            line = f"  {row.figure.name:<44} {row.figure.text:<32} {row.figure.unit:<10} {ratios}   {verdict}"
            print(line.rstrip(), flush=True)
        for note in self.notes:
            print(f"  {note}", flush=True)

    def as_json(self) -> dict[str, Any]:
        return {"title": self.title, "rows": [row.as_json() for row in self.rows], "notes": list(self.notes)}


@dataclass(frozen=True, slots=True)
class Grid:
    """Several figures of each of several things: medians side by side. The JSON has their values, too."""

    title: str
    columns: Sequence[str]  # with their units
    rows: Sequence[tuple[str, Sequence[Figure | None]]]  # None: not known here
    notes: Sequence[str] = ()

    def print(self) -> None:
        print(f"\n{self.title}")
        widths = [max(len(column), 8) for column in self.columns]
        print(f"  {'':<40}" + "".join(f"  {c:>{w}}" for c, w in zip(self.columns, widths, strict=True)))
        for name, figures in self.rows:
            cells = ["-" if figure is None else _plain(figure.median) for figure in figures]
            print(f"  {name:<40}" + "".join(f"  {c:>{w}}" for c, w in zip(cells, widths, strict=True)))
        for note in self.notes:
            print(f"  {note}", flush=True)

    def as_json(self) -> dict[str, Any]:
        rows = [Row(figure).as_json() for _, figures in self.rows for figure in figures if figure is not None]
        return {"title": self.title, "rows": rows, "notes": list(self.notes)}


def _plain(value: float) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 else 3
    return f"{value:,.{digits}f}"


def write_json(path: Path, tables: Sequence[Table | Grid], about: dict[str, Any]) -> None:
    """Write everything a run measured, for comparison with other runs."""
    document = {
        "about": about,
        "tables": [table.as_json() for table in tables],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")


def machine() -> dict[str, Any]:
    """The class of machine, as far as it explains figures."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 1),  # above 0.5 the machine had other work: trust ratios only
    }
