"""What changed between two documents: as data, and as a text to read.

Steps are told apart by their ids, at every level: one that only moved has not changed, as the order of steps means
nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from workflow_engine.definition.faults import join

MAX_LINES = 40_000
"""Of either text: comparing more takes longer than anyone waits."""

_TOO_LONG = "texts are compared up to {:,} lines, this has {:,}{}; json has no such limit"
_FIRST = ("name", "spec", "id", "type", "description")  # keys that say what an object is


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs.

    Attributes:
        change: What happened to it on the way from the old document to the new one.
        pointer: Where it is: a JSON Pointer into the new document, or for what was removed into the old one.
        old: Its value before; None when it was added.
        new: Its value now; None when it was removed.
    """

    change: Literal["added", "removed", "changed"]
    pointer: str
    old: Any = None
    new: Any = None


@dataclass(frozen=True, slots=True)
class StepChange:
    """A step that is in both documents and differs."""

    id: str
    pointer: str  # into the new document
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed between two documents.

    Attributes:
        added: Steps that only the new document has: the id and the place of each.
        removed: Steps that only the old document has.
        changed: Steps that both have.
        fields: Everything else.
    """

    added: tuple[tuple[str, str], ...]
    removed: tuple[tuple[str, str], ...]
    changed: tuple[StepChange, ...]
    fields: tuple[Change, ...]


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> Difference:
    """What changed from one accepted document to another. Linear in their size."""
    before, after = _by_id("/steps", old["steps"]) or {}, _by_id("/steps", new["steps"]) or {}
    changed = []
    for step_id, part in after.items():
        if step_id in before and (changes := tuple(_changes(before[step_id], part))):
            changed.append(StepChange(step_id, part.pointer, changes))
    rests = [{name: value for name, value in document.items() if name != "steps"} for document in (old, new)]
    return Difference(
        added=tuple((step_id, part.pointer) for step_id, part in after.items() if step_id not in before),
        removed=tuple((step_id, part.pointer) for step_id, part in before.items() if step_id not in after),
        changed=tuple(changed),
        fields=tuple(_changes(_Part("", rests[0]), _Part("", rests[1]))),
    )


def unified(old: Mapping[str, Any], new: Mapping[str, Any], old_title: str, new_title: str) -> str:
    """The same as a unified diff of both documents as YAML; empty when nothing changed.

    Raises:
        ValueError: A document has more than `MAX_LINES` lines.
    """
    # Each value that holds no other takes a line at least: what is far too long need not be written to be refused.
    if (least := max(_leaves(old), _leaves(new))) > MAX_LINES:
        raise ValueError(_TOO_LONG.format(MAX_LINES, least, " or more"))
    before, after = as_yaml(old).splitlines(keepends=True), as_yaml(new).splitlines(keepends=True)
    longest = max(len(before), len(after))
    if longest > MAX_LINES:
        raise ValueError(_TOO_LONG.format(MAX_LINES, longest, ""))
    return "".join(difflib.unified_diff(before, after, old_title, new_title))


def _leaves(value: Any) -> int:
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return sum(map(_leaves, parts)) or 1


def as_yaml(document: Mapping[str, Any]) -> str:
    """A document as YAML; what an object is comes first, the rest by name, so that equal documents are equal texts."""
    return yaml.dump(in_order(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


@dataclass(frozen=True, slots=True)
class _Part:
    """A value and where it is."""

    pointer: str
    value: Any


def _changes(old: _Part | None, new: _Part | None) -> Iterator[Change]:
    if new is None:
        assert old is not None
        yield Change("removed", old.pointer, old=old.value)
    elif old is None:
        yield Change("added", new.pointer, new=new.value)
    elif (parts := _parts_of_both(old, new)) is not None:
        before, after = parts
        for key in dict.fromkeys((*before, *after)):
            yield from _changes(before.get(key), after.get(key))
    elif not _equal(old.value, new.value):
        yield Change("changed", new.pointer, old.value, new.value)


def _parts_of_both(old: _Part, new: _Part) -> tuple[Mapping[Any, _Part], Mapping[Any, _Part]] | None:
    """The parts of two values of one kind, by what tells them apart; None when they have none."""
    if isinstance(old.value, Mapping) and isinstance(new.value, Mapping):
        return _by_key(old.pointer, old.value.items()), _by_key(new.pointer, new.value.items())
    if isinstance(old.value, list) and isinstance(new.value, list):
        before, after = _by_id(old.pointer, old.value), _by_id(new.pointer, new.value)
        if before is not None and after is not None:
            return before, after
        return _by_key(old.pointer, enumerate(old.value)), _by_key(new.pointer, enumerate(new.value))
    return None


def _by_key(pointer: str, items: Iterable[tuple[Any, Any]]) -> dict[Any, _Part]:
    return {key: _Part(join(pointer, key), value) for key, value in items}


def _by_id(pointer: str, values: Sequence[Any]) -> dict[Any, _Part] | None:
    """Objects by their `id`; None when these are no objects that ids tell apart."""
    found: dict[Any, _Part] = {}
    for index, value in enumerate(values):
        if not isinstance(value, Mapping) or not isinstance(value.get("id"), str) or value["id"] in found:
            return None
        found[value["id"]] = _Part(join(pointer, index), value)
    return found


def _equal(old: Any, new: Any) -> bool:
    """Equal as JSON: true is not 1."""
    return bool(old == new) and isinstance(old, bool) == isinstance(new, bool)


def in_order(value: Any) -> Any:
    """The same with the keys of its objects in an order for people: what an object is comes first."""
    if isinstance(value, Mapping):
        names = sorted(value, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name))
        return {name: in_order(value[name]) for name in names}
    if isinstance(value, list):
        return [in_order(item) for item in value]
    return value


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks; no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else '"' if _needs_quotes(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _needs_quotes(text: str) -> bool:
    """Whether YAML 1.2 could take an unquoted text for something else than YAML 1.1 does; so that it is read back."""
    return text[:1].isdigit() or text[:1] in ("-", "+", ".")


_Dumper.add_representer(str, _represent_text)
