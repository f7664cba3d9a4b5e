"""What the command line does with definitions in files: check and draw them without an engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_engine.api.definition_files import SUFFIXES, read_file
from workflow_engine.definition.compile import compile_definition
from workflow_engine.definition.drawing.of_plan import picture_of
from workflow_engine.definition.drawing.picture import Box, Picture
from workflow_engine.definition.drawing.svg import draw_svg
from workflow_engine.definition.drawing.text import dot, mermaid, outline
from workflow_engine.errors import DefinitionInvalid, Fault, InputInvalid, RequestRefused
from workflow_engine.handlers.registry import Registry
from workflow_engine.settings import load_settings

FORMS: Mapping[str, Callable[[Picture], str]] = {"text": outline, "mermaid": mermaid, "dot": dot, "svg": draw_svg}
"""How a graph may be drawn."""

_BRING_TYPES = "; if a worker brings it, say so: --type TYPE, or --include MODULE"


@dataclass(frozen=True, slots=True)
class Checked:
    """What there is to say of a file.

    Attributes:
        lines: For people and for editors: `FILE:PLACE: what is wrong`.
        picture: Of its definition; None when it was refused.
    """

    lines: Sequence[str]
    picture: Picture | None

    @property
    def accepted(self) -> bool:
        return self.picture is not None


def is_file(given: str) -> bool:
    """Whether a file is meant, there or not, and no name: a name has neither a dot nor a slash."""
    return Path(given).is_file() or "/" in given or Path(given).suffix.lower() in SUFFIXES


def known_types(modules: Sequence[str], types: Collection[str]) -> frozenset[str]:
    """The task types that a worker here would bring with these modules, and those that are named.

    Raises:
        HandlerInvalid: Handlers cannot be loaded.
    """
    registry = Registry()
    registry.load_entry_points()
    for module in modules:
        registry.include(module)
    try:
        return frozenset({*types, *registry.types})
    finally:
        registry.close()


def check_file(path: Path, task_types: Collection[str]) -> Checked:
    """Check the definition in a file as an engine would that has workers for these task types."""
    try:
        document = read_file(path, limit=load_settings().max_payload_bytes)
        compiled = compile_definition(document, task_types=task_types)
    except RequestRefused as error:
        return Checked([f"{path}:/: {error.detail}"], None)
    except (DefinitionInvalid, InputInvalid) as error:
        return Checked([_line(path, fault) for fault in error.faults], None)
    warnings = [f"{path}:{w.pointer or '/'}: warning: {w.message}" for w in compiled.warnings]
    steps = len(compiled.plan.by_id)
    said = f"{path}: {compiled.name} is fine, {steps:,} {'step' if steps == 1 else 'steps'}"
    return Checked([*warnings, said], picture_of(compiled.plan, compiled.name))


def picture_from(title: str, dag: Mapping[str, Any]) -> Picture:
    """The picture of a graph that an engine answered with."""
    number = {node["id"]: n for n, node in enumerate(dag["nodes"])}
    dependencies: list[list[int]] = [[] for _ in number]
    for edge in dag["edges"]:
        dependencies[number[edge["to"]]].append(number[edge["from"]])
    for node, needed in zip(dag["nodes"], dependencies, strict=True):
        if not needed and node.get("parent") is not None:
            needed.append(number[node["parent"]])
    critical = [number[step] for step in dag["critical_path"]]
    return Picture(title, [Box(node["id"], node["type"]) for node in dag["nodes"]], dependencies, critical)


def _line(path: Path, fault: Fault) -> str:
    more = _BRING_TYPES if fault.code == "unknown-step-type" else ""
    return f"{path}:{fault.pointer or '/'}: {fault.message}{more}"
