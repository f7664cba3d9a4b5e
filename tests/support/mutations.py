"""Makes valid definitions a little wrong, in ways that people and programs do: always the same for the same seed."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

Place: TypeAlias = tuple[Any, Any]
"""A container and a key or index in it."""

_ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, 1.5, -0.0, 1e308, [], {}, [[]], [None], {"": ""}, list(range(50)),
    "", " ", "x", "0", "true", "ä€😀", "a" * 300, "in", "__proto__", "../../etc/passwd", "'; drop table workflow.tasks",
    "${", "${}", "}", "${ input }", "${ steps.nobody.output }", "${ item }", "${ 1 / 0 }", "${ input.a.b }", "$${ a }",
    "1h", "-1s", "P1D", "99999999d", "2026-02-30T00:00:00Z", "http.5xx", "*", {"a": {"b": {"c": []}}},
)  # fmt: skip
_ODD_EXPRESSIONS = (
    "true", "false", "1", "'x'", "input", "input.x", "1 / 0", "result", "item", "last.x", "error.type", "steps",
    "null", "[1, 2].all(x, x > 0)", "size(input) > 0", "input.x == 1 || true", "has(input.x)", "iteration > 2",
    "1 * 2.0", "(", "a.b.c.d", "timestamp('x')", "workflow.id",
)  # fmt: skip
_RULES = (
    "auto", "all_success", "all_done", "none_failed", "one_success", "one_failed", "all_failed", "always",
    {"min_success": 2},
)  # fmt: skip


class Mutator:
    """Mutates documents, with parts of all of them as material."""

    def __init__(self, documents: Sequence[dict[str, Any]], seed: int) -> None:
        self._random = random.Random(seed)
        self._documents = documents
        # What stands under which key of which kind of object, to be put elsewhere.
        self._parts = [
            (_kind(box), key, box[key]) for d in documents for box, key in places(d) if isinstance(box, dict)
        ]
        self._ways: Sequence[Callable[[dict[str, Any]], None]] = (
            self._drop, self._drop, self._replace, self._insert, self._insert, self._swap, self._repeat, self._rename,
            self._rewire, self._rewire, self._rewire, self._transplant, self._transplant, self._transplant,
            self._garble, self._express, self._express,
        )  # fmt: skip

    def mutate(self, document: dict[str, Any]) -> dict[str, Any]:
        """A copy with one to three mutations."""
        mutated = copy.deepcopy(document)
        for _ in range(self._random.choice((1, 1, 1, 2, 3))):
            self._random.choice(self._ways)(mutated)
        return mutated

    def _place(self, document: Any, kind: type | None = None) -> Place | None:
        found = [place for place in places(document) if kind is None or isinstance(place[0][place[1]], kind)]
        return self._random.choice(found) if found else None

    def _drop(self, document: dict[str, Any]) -> None:
        if place := self._place(document):
            del place[0][place[1]]

    def _replace(self, document: dict[str, Any]) -> None:
        if place := self._place(document):
            place[0][place[1]] = copy.deepcopy(self._random.choice(_ODD_VALUES))

    def _insert(self, document: dict[str, Any]) -> None:
        """Put a field of any document into an object of this one, mostly where it belongs."""
        kind, key, value = self._random.choice(self._parts)
        boxes = _objects(document)
        if self._random.random() < 0.8:
            boxes = [box for box in boxes if _kind(box) == kind] or boxes
        self._random.choice(boxes)[key] = copy.deepcopy(value)

    def _swap(self, document: dict[str, Any]) -> None:
        one, other = self._place(document), self._place(document)
        if one and other:
            first, second = copy.deepcopy(one[0][one[1]]), copy.deepcopy(other[0][other[1]])
            one[0][one[1]] = second
            try:
                other[0][other[1]] = first
            except (IndexError, KeyError):  # it went with the first
                return

    def _repeat(self, document: dict[str, Any]) -> None:
        if (place := self._place(document, list)) and place[0][place[1]]:
            values = place[0][place[1]]
            values.insert(self._random.randrange(len(values) + 1), copy.deepcopy(self._random.choice(values)))

    def _rename(self, document: dict[str, Any]) -> None:
        places_of_objects = [place for place in places(document) if isinstance(place[0], dict)]
        box, key = self._random.choice(places_of_objects)
        box[self._garbled(key)] = box.pop(key)

    def _rewire(self, document: dict[str, Any]) -> None:
        """Let a step depend on other steps, whichever."""
        steps = [box for box in _objects(document) if "id" in box and "type" in box]
        if not steps:
            return
        ids = [step["id"] for step in steps]
        step = self._random.choice(steps)
        step["depends_on"] = [self._dependency(ids) for _ in range(self._random.randint(1, 3))]
        if self._random.random() < 0.4:
            step["trigger_rule"] = self._random.choice(_RULES)

    def _dependency(self, ids: Sequence[Any]) -> Any:
        wanted = self._random.choice(ids)
        statuses = ["succeeded", "failed", "skipped", "cancelled"]
        match self._random.randrange(4):
            case 0:
                return {"step": wanted, "on": self._random.sample(statuses, self._random.randint(1, 4))}
            case 1:
                return {"step": wanted, "case": self._random.choice(["a", "default", "one", "large"])}
            case _:
                return wanted

    def _transplant(self, document: dict[str, Any]) -> None:
        """Replace something by what stands under the same key in another document."""
        if place := self._place(document):
            same = [value for _, key, value in self._parts if key == place[1]]
            place[0][place[1]] = copy.deepcopy(self._random.choice(same or [None]))

    def _garble(self, document: dict[str, Any]) -> None:
        if place := self._place(document, str):
            place[0][place[1]] = self._garbled(place[0][place[1]])

    def _express(self, document: dict[str, Any]) -> None:
        """Another expression, or one where there was none."""
        steps = [box for box in _objects(document) if "id" in box]
        if steps:
            expression = self._random.choice(_ODD_EXPRESSIONS)
            field = self._random.choice(["when", "output", "expression", "loop", "for_each"])
            value: dict[str, Any] = {
                "output": f"${{ {expression} }}",
                "loop": {"until": expression, "max_iterations": 3},
                "for_each": {"items": f"${{ {expression} }}"},
            }
            self._random.choice(steps)[field] = value.get(field, expression)

    def _garbled(self, text: str) -> str:
        if not text:
            return "x"
        at = self._random.randrange(len(text))
        left, right = text[:at], text[at + 1 :]
        return self._random.choice((left + right, left + text[at:] + text[at], f"{left}_{right}", text[::-1]))


def places(value: Any) -> Iterator[Place]:
    """Every place in JSON data where a value stands, but for the top."""
    todo = [value]
    while todo:
        box = todo.pop()
        for key in list(box) if isinstance(box, dict) else range(len(box)):
            yield box, key
            if isinstance(box[key], dict | list):
                todo.append(box[key])


def _kind(box: dict[str, Any]) -> str:
    """What an object is: a step (of any type), or something with such keys."""
    return "step" if "id" in box and "type" in box else " ".join(sorted(box)[:2])


def _objects(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [document, *(box[key] for box, key in places(document) if isinstance(box[key], dict))]
