"""Public workflows, written in the definition language, each with cases that are played in test mode."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_engine.definition.yaml_data import read_yaml

FOLDER = Path(__file__).parents[2] / "examples" / "translations"


@dataclass(frozen=True)
class Case:
    """One way a translated workflow may go."""

    definition: str
    name: str
    given: dict[str, Any]
    expect: dict[str, Any]


def definitions() -> dict[str, dict[str, Any]]:
    """All translations by the name of their file."""
    paths = sorted(FOLDER.glob("*.yaml"))
    return {path.stem: read(path) for path in paths if not path.name.endswith(".cases.yaml")}


def cases() -> list[Case]:
    found = []
    for name in definitions():
        for case in read(FOLDER / f"{name}.cases.yaml"):
            given = {key: value for key, value in case.items() if key not in ("name", "expect")}
            found.append(Case(name, case["name"], given, case["expect"]))
    return found


def read(path: Path) -> Any:
    return read_yaml(path.read_text(), limit=1_000_000)
