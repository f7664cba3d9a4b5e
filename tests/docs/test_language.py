"""docs/language.md: its definitions are accepted, and its tables name every field there is."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from workflow_engine.definition.compile import compile_definition
from workflow_engine.definition.document import TOP_FIELDS
from workflow_engine.definition.scope import VARIABLES
from workflow_engine.definition.step_types import BUILT_IN_TYPES
from workflow_engine.definition.steps import COMMON_FIELDS
from workflow_engine.definition.yaml_data import read_yaml

TEXT = (Path(__file__).parents[2] / "docs" / "language.md").read_text()


def examples() -> list[Any]:
    found = []
    for language, block in re.findall(r"^```(json|yaml)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL):
        value = json.loads(block) if language == "json" else read_yaml(block, limit=100_000)
        if "id" in value:
            value = {"name": "example", "steps": [value]}
        if "steps" in value:
            found.append({**value, "steps": value["steps"] or [{"id": "a", "type": "noop"}]})
    return found


@pytest.mark.parametrize("document", examples(), ids=lambda document: document["name"])
def test_an_example_is_accepted(document: dict[str, Any]) -> None:
    compile_definition(document)


def section(title: str) -> str:
    return re.split(r"^## ", TEXT.split(f"\n## {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("The document", TOP_FIELDS),
        ("A step", COMMON_FIELDS),
        ("Expressions", VARIABLES),
        (
            "Steps that steer and wait",
            [
                name
                for step_type in ("switch", "block", "wait", "signal", "approval", "workflow", "emit", "terminate")
                for name in (step_type, *BUILT_IN_TYPES[step_type].fields, *BUILT_IN_TYPES[step_type].apart)
            ],
        ),
    ],
)
def test_every_field_and_name_is_in_its_table(title: str, names: list[str]) -> None:
    rows = " ".join(line.rsplit("|", 2)[0] for line in section(title).splitlines() if line.startswith("|"))
    assert [name for name in names if not re.search(rf"`{re.escape(name)}\b", rows)] == []
