"""Functions on lists that CEL's binding has not got: `sum`, and those of CEL's lists extension that it lets in.

`sum(list)`, `list.distinct()`, `list.flatten()`, `list.slice(from, to)`, `list.sort()`, `lists.range(n)`. They are
linear (sorting nearly so): a long list holds a worker no longer than reading it does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from cel_expr_python import cel

MAX_RANGE = 1_000
"""Numbers that `lists.range` gives at most."""

LIST_FUNCTIONS = {
    "sum": "sum(list)",
    "distinct": "list.distinct()",
    "flatten": "list.flatten()",
    "slice": "list.slice(from, to)",
    "sort": "list.sort()",
    "range": "lists.range(n)",
}
"""How they are called, by their names."""

_INT64 = range(-(1 << 63), 1 << 63)


def list_functions() -> list[Any]:
    """Their declarations for an environment."""
    dyn, integer = cel.Type.DYN, cel.Type.INT
    items = cel.Type.List(dyn)
    return [
        _function("sum", "sum_list", dyn, [items], _sum, member=False),
        _function("distinct", "list_distinct", items, [items], _distinct),
        _function("flatten", "list_flatten", items, [items], _flatten),
        _function("slice", "list_slice", items, [items, integer, integer], _slice),
        _function("sort", "list_sort", items, [items], _sort),
        _function("lists.range", "lists_range", items, [integer], _range, member=False),
    ]


def _function(
    name: str, overload: str, result: Any, parameters: list[Any], body: Callable[..., Any], *, member: bool = True
) -> Any:
    return cel.FunctionDecl(name, [cel.Overload(overload, result, parameters, member, body)])


def _sum(items: list[Any]) -> int | float:
    if any(isinstance(item, bool) or not isinstance(item, int | float) for item in items):
        raise ValueError("sum() takes a list of numbers")
    total: int | float = sum(items)
    if isinstance(total, int) and total not in _INT64:
        raise ValueError("integer overflow")
    return total


def _distinct(items: list[Any]) -> list[Any]:
    """The first of each, in order. 1 and 1.0 are different, as their JSON is."""
    found: dict[str, Any] = {}
    for item in items:
        found.setdefault(json.dumps(item, sort_keys=True, default=str), item)
    return list(found.values())


def _flatten(items: list[Any]) -> list[Any]:
    """One level."""
    return [inner for item in items for inner in (item if isinstance(item, list) else [item])]


def _slice(items: list[Any], start: int, end: int) -> list[Any]:
    if not 0 <= start <= end <= len(items):
        raise ValueError(f"slice({start}, {end}) is outside of a list of {len(items):,}")
    return list(items[start:end])


def _sort(items: list[Any]) -> list[Any]:
    kinds = {float if isinstance(item, int) and not isinstance(item, bool) else type(item) for item in items}
    if len(kinds) > 1 or not kinds <= {float, str, bool}:
        raise ValueError("sort() takes a list of numbers or a list of strings")
    return sorted(items)


def _range(count: int) -> list[int]:
    if not 0 <= count <= MAX_RANGE:
        raise ValueError(f"lists.range() takes 0 to {MAX_RANGE:,}")
    return list(range(count))
