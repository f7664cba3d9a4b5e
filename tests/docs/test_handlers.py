"""docs/handlers.md: its code runs, and every field of a built-in type is in it."""

import asyncio
import re
import sys
import types
from pathlib import Path

import pytest

from workflow_engine.handlers.agent import AgentInputs
from workflow_engine.handlers.base import TaskContext
from workflow_engine.handlers.basic import FailInputs, TransformInputs
from workflow_engine.handlers.database import DatabaseInputs
from workflow_engine.handlers.http import HttpInputs
from workflow_engine.handlers.inputs import Inputs
from workflow_engine.handlers.llm_inference import LlmInputs
from workflow_engine.handlers.registry import Registry
from workflow_engine.testing import task_context

PAGE = (Path(__file__).parents[2] / "docs" / "handlers.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def section(title: str) -> str:
    found = re.search(rf"^### {title}\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, f"no section {title}"
    return found[1]


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """All code of the page, run in order as the module `thumbnails`, which its own test imports."""
    module = types.ModuleType("thumbnails")
    monkeypatch.setitem(sys.modules, "thumbnails", module)
    for block in BLOCKS:
        exec(compile(block, "docs/handlers.md", "exec"), module.__dict__)
    return module


def test_the_handlers_of_the_page_can_be_included(page: types.ModuleType) -> None:
    registry = Registry()
    registry.include("thumbnails")
    assert registry.types == ["charge", "import_rows", "resize_all", "thumbnail"]
    thumbnail = registry.get("thumbnail")
    assert (thumbnail.timeout, thumbnail.max_attempts) == (300.0, 4)
    resized = asyncio.run(registry.get("resize_all").handle({"images": ["a", "b"]}, task_context()))
    assert resized == {"resized": 2}
    registry.close()


def test_the_test_on_the_page_passes(page: types.ModuleType) -> None:
    page.test_a_thumbnail_has_the_size_that_was_asked_for()


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("http", HttpInputs),
        ("agent", AgentInputs),
        ("llm_inference", LlmInputs),
        ("database", DatabaseInputs),
        ("transform", TransformInputs),
        ("fail", FailInputs),
    ],
)
def test_every_field_of_a_built_in_type_is_documented(name: str, inputs: type[Inputs]) -> None:
    documented = re.findall(r"`(\w+)`", " ".join(row.split("|")[1] for row in section(name).splitlines() if "|" in row))
    assert set(inputs.model_fields) <= set(documented)


def test_every_field_of_the_context_that_is_for_users_is_documented() -> None:
    documented = set(re.findall(r"`ctx\.(\w+)`", section("The context")))
    assert documented == {name for name in dir(TaskContext) if not name.startswith("_")} - {"lease_token", "accepts"}
