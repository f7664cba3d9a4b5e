"""YAML as JSON data: what two readers could understand differently is refused instead of guessed at.

The scalars are those of YAML 1.2's core schema, so that `no` is a text, `010` is ten and `1:30` is not ninety. Keys are
texts and come once. Merge keys are refused; an alias counts for as much as it stands for, so that a few lines cannot
grow into gigabytes.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from workflow_engine.definition.faults import clipped, join
from workflow_engine.errors import DefinitionInvalid, Fault

_MOST_VALUES = 200_000


def read_yaml(text: str, *, limit: int) -> Any:
    """One YAML document as data; whether all of it is JSON data is `check_values`' matter.

    Args:
        text: The document.
        limit: Most characters of its texts, aliases written out.

    Raises:
        DefinitionInvalid: It cannot be read, or not in one way only.
    """
    try:
        value = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 it is a safe loader, made stricter
    except _Refused as error:
        raise _invalid(error.code, error.message) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1} column {mark.column + 1}" if mark else ""
        raise _invalid("malformed-yaml", f"it is not YAML: {error.problem or error.context}{place}") from error
    except yaml.YAMLError as error:
        raise _invalid("malformed-yaml", f"it is not YAML: {error}") from error
    except RecursionError as error:
        raise _invalid("nesting-too-deep", "it is nested too deep") from error
    except ValueError as error:
        raise _invalid("number-out-of-range", f"a number cannot be read: {error}") from error
    _check_size(value, limit)
    return value


class _Refused(Exception):
    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


class _StrictLoader(yaml.SafeLoader):
    """The safe loader with the core schema, for mappings whose keys are texts and come once."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 as the base class has it

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            place = f"line {key.start_mark.line + 1}"
            if key.tag != "tag:yaml.org,2002:str":
                raise _Refused("validation-error", f"{place}: the key {clipped(key.value)} is not a text; quote it")
            if key.value == "<<":
                raise _Refused("validation-error", f"{place}: merge keys (<<) are not accepted")
            if key.value in seen:
                raise _Refused("duplicate-property", f"{place}: the key {clipped(key.value)} comes twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge keys were refused."""


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node))


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    _StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)
_StrictLoader.add_constructor("tag:yaml.org,2002:int", _integer)
_StrictLoader.add_constructor("tag:yaml.org,2002:float", _number)


def _check_size(value: Any, limit: int) -> None:
    """Refuse what grows beyond the limits when its aliases are written out, also what contains itself."""
    open_values = [value]
    values = characters = 0
    while open_values:
        found = open_values.pop()
        values += 1
        if isinstance(found, dict):
            characters += sum(len(key) for key in found)
            open_values += found.values()
        elif isinstance(found, list):
            open_values += found
        elif isinstance(found, str):
            characters += len(found)
        if values + len(open_values) > _MOST_VALUES or characters > limit:
            raise _invalid("expansion-limit", f"it has more than {_MOST_VALUES:,} values or {limit:,} characters")


def _invalid(code: str, message: str) -> DefinitionInvalid:
    return DefinitionInvalid([Fault(join(""), code, message)])
