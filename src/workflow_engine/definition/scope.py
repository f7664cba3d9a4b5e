"""What an expression can see: the variables, the names below them, and how they are looked up.

input                                          of the workflow
steps.<id>.{status,output,error,attempt,started_at,finished_at}
                                               of steps that ended before, of the own scope and those around it; an id
                                               `a-b` is read as `steps.a_b`
vars                                           of the definition
workflow.{id,name,version,attempt,labels,parent_id,started_at}
                                               and `status` and `error` once its steps have ended: in handlers
item (or its name), index                      inside a `for_each`
iteration, last                                inside a `loop`: its number from 1, and the output of the one before
result                                         the raw result in `output`, `success_when`; shaped in `until`
error.{type,message,retryable,attempt,details} in `retries.when` and `catch`
event.{name,payload,at,by}                     in the `match` of a signal
secrets.<NAME>                                 in `inputs` of steps that reach outside
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from workflow_engine.definition.cel_tree import Path, References
from workflow_engine.definition.faults import did_you_mean

Scope: TypeAlias = Mapping[str, Any]
"""Plain JSON data by variable; `steps` is by step id. What a step has not got (`output` of a failed one) is absent."""

Selection: TypeAlias = dict[str, Any]
"""The part of a scope that an expression reads: a tree of names, where None means everything below."""

COMMON_VARIABLES = ("input", "steps", "vars", "workflow")
VARIABLES = (
    *COMMON_VARIABLES, "item", "index", "iteration", "last", "result", "error", "event", "secrets",
)  # fmt: skip
"""Those that every expression may name; whether it may read them depends on its place."""
CEL_RESERVED = frozenset(
    {"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop"}
    | {"namespace", "null", "package", "return", "true", "var", "void", "while"}
)
"""What CEL keeps for itself, in its grammar and for languages it may be embedded in."""
STEP_FIELDS = ("status", "output", "error", "attempt", "started_at", "finished_at")
_FIELDS = {
    "workflow": ("id", "name", "version", "attempt", "labels", "parent_id", "started_at"),
    "error": ("type", "message", "retryable", "attempt", "details"),
    "event": ("seq", "name", "payload", "at", "by"),
}
_AT_THE_END = ("status", "error")
_PLACES = {
    "item": "a step with `for_each`, without another name in `as`,",
    "index": "a step with `for_each`",
    "iteration": "a step with `loop`",
    "last": "a step with `loop`",
    "result": "`output`, `success_when` and `until`",
    "error": "`retries.when` and `catch`",
    "event": "the `match` of a signal",
    "secrets": "the `inputs` of steps that reach outside, such as http or tool,",
}


def steps_read(references: References) -> set[str]:
    """The steps an expression reads, as it writes them (`a_b` for the id `a-b`)."""
    return {str(path[1]) for path in references.paths if path[0] == "steps" and len(path) > 1}


def misuses(references: References, variables: Collection[str | int], *, at_end: bool = False) -> Iterator[str]:
    """What is wrong with the names an expression uses, given the variables at its place. Steps are not looked up.

    Args:
        references: What it reads.
        variables: What may be read at its place.
        at_end: Whether it is evaluated when the workflow's steps have ended: in a handler.
    """
    for path in sorted(references.paths, key=str):
        root, rest = path[0], path[1:]
        if root not in variables:
            place = _PLACES.get(str(root))
            yield f"`{root}` can be used in {place} only" if place else f"`{root}` cannot be used here"
        elif root == "secrets" and not rest:
            yield "write secrets.<NAME>: the secrets as a whole cannot be read"
        elif root == "workflow" and at_end and rest and rest[0] in _AT_THE_END:
            continue
        elif root == "steps" and not rest:
            yield "write steps.<id>: the steps as a whole cannot be read"
        elif root == "steps" and len(rest) > 1 and rest[1] not in STEP_FIELDS:
            hint = did_you_mean(rest[1], STEP_FIELDS)
            yield f"a step has no `{str(rest[1])[:80]}`, only {', '.join(STEP_FIELDS)}{hint}"
        elif root in _FIELDS and rest and rest[0] not in _FIELDS[str(root)]:
            known = _FIELDS[str(root)]
            yield f"`{root}` has no `{str(rest[0])[:80]}`, only {', '.join(known)}{did_you_mean(rest[0], known)}"


def step_alias(step_id: str) -> str:
    """How expressions write a step's id: CEL names have no dashes."""
    return step_id.replace("-", "_")


def follow(path: Path, scope: Scope) -> Any:
    """The value at the end of a chain of names.

    Raises:
        LookupError: With a reason for the author, when there is no such thing.
    """
    value: Any = scope
    for depth, key in enumerate(path):
        if isinstance(value, Mapping):
            name = _step_key(value, key) if depth == 1 and path[0] == "steps" else key
            if name not in value:
                raise LookupError(_absent(path[: depth + 1], scope))
            value = value[name]
        elif isinstance(value, list) and isinstance(key, int):
            if not 0 <= key < len(value):
                raise LookupError(f"there is no item {key} in {written(path[:depth])}, a list of {len(value):,}")
            value = value[key]
        else:
            raise LookupError(f"{written(path[:depth])} is {json_type(value)} and has no {key!r}")
    return value


def selection(paths: Iterable[Path]) -> Selection:
    """What to pick from a scope so that each path gives the same as on the whole scope."""
    tree: Selection = {}
    for path in sorted(paths, key=len):
        names = list(_leading_names(path))
        node: Selection | None = tree
        for name in names[:-1]:
            node = node.setdefault(name, {}) if node is not None else None
        if node is not None and node.get(names[-1], ...) is not None:
            node[names[-1]] = None
    return tree


def pick(scope: Scope, wanted: Selection) -> dict[str, Any]:
    """The wanted part of a scope. Steps are named as expressions write them."""
    picked = {}
    for variable, below in wanted.items():
        if variable not in scope:
            continue
        value = scope[variable]
        if variable == "steps":
            value = {name: value[key] for name in below or () if (key := _step_key(value, name)) in value}
        picked[variable] = _pick(value, below)
    return picked


def _pick(value: Any, wanted: Selection | None) -> Any:
    if wanted is None or not isinstance(value, dict):
        return value
    return {name: _pick(value[name], below) for name, below in wanted.items() if name in value}


def _leading_names(path: Path) -> Iterator[str]:
    """The names before the first list index: a list is picked as a whole."""
    for key in path:
        if not isinstance(key, str):
            return
        yield key


def _step_key(steps: Mapping[str, Any], name: str | int) -> str | int:
    """The id of the step that an expression calls `name`."""
    if name in steps or not isinstance(name, str):
        return name
    return next((step_id for step_id in steps if step_alias(step_id) == name), name)


def _absent(path: Path, scope: Scope) -> str:
    reason = f"there is no {written(path)}"
    if len(path) == 3 and path[0] == "steps":
        status = follow(path[:2], scope).get("status")
        guard = f"has({written(path)}) or steps.{path[1]}.?{path[2]}.orValue(...)"
        return f"{reason}: the step is {status}; guard it with {guard}"
    return reason


def written(path: Path) -> str:
    """A chain of names as the author writes it."""
    text = str(path[0]) if path else "the scope"
    for key in path[1:]:
        text += f".{key}" if isinstance(key, str) and key.replace("-", "_").isidentifier() else f"[{key!r}]"
    return text


def json_type(value: Any) -> str:
    """What kind of JSON value it is, for messages."""
    for kinds, name in _JSON_TYPES:
        if isinstance(value, kinds):
            return name
    return "null"


_JSON_TYPES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "a boolean"),
    ((int, float), "a number"),
    (str, "a string"),
    (list, "a list"),
    (dict, "an object"),
)
