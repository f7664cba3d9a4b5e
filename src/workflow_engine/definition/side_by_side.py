"""Two documents beside each other, step by step, as a page shows them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from workflow_engine.definition.diff import as_yaml, compare

_CONTEXT = 4  # lines around what changed

Change = Literal["added", "removed", "changed", "same"]


@dataclass(frozen=True, slots=True)
class Text:
    """A line of one document: what is in the middle is what differs from the line beside it."""

    number: int
    before: str
    differs: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """Two lines beside each other, of which one may be missing; or, with neither, so many that are the same in both
    texts and are left out."""

    change: Change
    old: Text | None = None
    new: Text | None = None
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """A step, or everything around the steps.

    Attributes:
        step: Its id; None: what is not in a step.
        change: What happened to it.
        lines: Both texts; none when it is the same.
        added: Lines that only the new text has; a line that changed is one of these and one of the removed ones.
        removed: Lines that only the old text has.
    """

    step: str | None
    change: Change
    lines: Sequence[Line] = ()
    added: int = 0
    removed: int = 0


def side_by_side(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Part]:
    """The parts of two accepted documents, in the order of the new one; one that was removed follows what it followed.

    A step that only moved is the same, as the order of steps means nothing.
    """
    before = {step["id"]: step for step in old["steps"]}
    after = {step["id"]: step for step in new["steps"]}
    found = compare(old, new)
    changed = {step.id for step in found.changed}
    parts = [
        _part(None, "changed", _rest(old), _rest(new)) if found.fields else Part(None, "same"),
    ]
    for step_id in _merged(list(before), list(after)):
        if step_id not in after:
            parts.append(_part(step_id, "removed", before[step_id], None))
        elif step_id not in before:
            parts.append(_part(step_id, "added", None, after[step_id]))
        elif step_id in changed:
            parts.append(_part(step_id, "changed", before[step_id], after[step_id]))
        else:
            parts.append(Part(step_id, "same"))
    return parts


def _rest(document: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in document.items() if name != "steps"}


def _merged(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    """The ids of the new document in its order, each followed by those that came after it and are gone."""
    kept = set(after)
    gone: dict[str | None, list[str]] = {}
    last: str | None = None
    for step_id in before:
        if step_id in kept:
            last = step_id
        else:
            gone.setdefault(last, []).append(step_id)
    yield from gone.get(None, ())
    for step_id in after:
        yield step_id
        yield from gone.get(step_id, ())


def _part(step: str | None, change: Change, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Part:
    texts = [[] if value is None else as_yaml(value).splitlines() for value in (old, new)]
    lines = list(_lines(*texts))
    return Part(
        step,
        change,
        list(_without_what_is_far(lines)),
        sum(line.new is not None and line.change != "same" for line in lines),
        sum(line.old is not None and line.change != "same" for line in lines),
    )


def _lines(old: Sequence[str], new: Sequence[str]) -> Iterator[Line]:
    for tag, i, i_end, j, j_end in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        for n in range(max(i_end - i, j_end - j)):
            a, b = i + n, j + n
            if tag == "equal":
                yield Line("same", Text(a + 1, old[a]), Text(b + 1, new[b]))
            elif a < i_end and b < j_end:
                yield Line("changed", *_marked(a, old[a], b, new[b]))
            elif a < i_end:
                yield Line("removed", old=Text(a + 1, old[a]))
            else:
                yield Line("added", new=Text(b + 1, new[b]))


def _marked(a: int, old: str, b: int, new: str) -> tuple[Text, Text]:
    """Two lines, in which what differs is marked; not where they have nothing but their indentation in common."""
    most = min(len(old), len(new))
    start = next((n for n in range(most) if old[n] != new[n]), most)
    end = next((n for n in range(most - start) if old[-1 - n] != new[-1 - n]), most - start)
    # Words are marked as a whole.
    while start and _is_word(old[start - 1]) and any(_is_word(text[start : start + 1]) for text in (old, new)):
        start -= 1
    while end and _is_word(old[-end]) and any(_is_word(text[: len(text) - end][-1:]) for text in (old, new)):
        end -= 1
    if not old[:start].strip() and not old[len(old) - end :].strip():
        return Text(a + 1, old), Text(b + 1, new)
    return _cut(a, old, start, end), _cut(b, new, start, end)


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _cut(index: int, text: str, start: int, end: int) -> Text:
    return Text(index + 1, text[:start], text[start : len(text) - end], text[len(text) - end :])


def _without_what_is_far(lines: Sequence[Line]) -> Iterator[Line]:
    """The lines near to what differs; what is between says how much was left out."""
    near = [False] * len(lines)
    for index, line in enumerate(lines):
        if line.change != "same":
            for n in range(max(0, index - _CONTEXT), min(len(lines), index + _CONTEXT + 1)):
                near[n] = True
    index = 0
    while index < len(lines):
        if near[index]:
            yield lines[index]
            index += 1
            continue
        end = next((n for n in range(index, len(lines)) if near[n]), len(lines))
        if end - index == 1:
            yield lines[index]
        else:
            yield Line("same", left_out=end - index)
        index = end
