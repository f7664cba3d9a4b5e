"""Two documents beside each other: each line of both is there once, and what differs is marked."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some

from workflow_engine.definition.diff import as_yaml, compare
from workflow_engine.definition.side_by_side import Part, Text, side_by_side

IDS = ("a", "b", "c", "d", "e")
STEPS = some.lists(some.sampled_from(IDS), min_size=1, unique=True).flatmap(
    lambda ids: some.tuples(
        *(
            some.fixed_dictionaries(
                {"id": some.just(id_), "type": some.sampled_from(["noop", "http"])},
                optional={"inputs": some.dictionaries(some.sampled_from("xyz"), some.sampled_from(["1", "1\n2", "3"]))},
            )
            for id_ in ids
        )
    )
)
DOCUMENTS = some.fixed_dictionaries(
    {"name": some.just("n"), "steps": STEPS.map(list)}, optional={"timeout": some.sampled_from(["1m", "2m"])}
)


def whole(text: Text) -> str:
    return text.before + text.differs + text.after


def assert_shows(part: Part, old: list[str], new: list[str]) -> None:
    """The lines of both texts are there, in order; what is left out is the same in both."""
    at, to = 0, 0
    for line in part.lines:
        if line.left_out:
            assert old[at : at + line.left_out] == new[to : to + line.left_out]
        if line.old:
            assert (line.old.number, whole(line.old)) == (at + 1, old[at])
        if line.new:
            assert (line.new.number, whole(line.new)) == (to + 1, new[to])
        at += line.left_out or (line.old is not None)
        to += line.left_out or (line.new is not None)
    assert (at, to) == (len(old), len(new))


@settings(deadline=None)
@given(DOCUMENTS, DOCUMENTS)
def test_both_texts_are_there_and_the_changes_are_those_of_the_comparison(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    parts = side_by_side(old, new)
    steps = {part.step: part for part in parts if part.step}
    assert len(steps) == len(parts) - 1
    assert steps.keys() == {step["id"] for step in (*old["steps"], *new["steps"])}
    found = compare(old, new)
    by_change = {
        change: {s for s, part in steps.items() if part.change == change} for change in ("added", "removed", "changed")
    }
    assert by_change == {
        "added": {step for step, _ in found.added},
        "removed": {step for step, _ in found.removed},
        "changed": {step.id for step in found.changed},
    }
    texts = [{step["id"]: as_yaml(step).splitlines() for step in document["steps"]} for document in (old, new)]
    for step, part in steps.items():
        if part.change != "same":
            assert_shows(part, texts[0].get(step, []), texts[1].get(step, []))
    in_new = [step for step in steps if step in texts[1]]
    assert in_new == [step["id"] for step in new["steps"]]


def test_what_differs_within_a_line_is_marked() -> None:
    def document(url: str) -> dict[str, Any]:
        return {"name": "n", "steps": [{"id": "a", "type": "http", "inputs": {"url": url}}]}

    (_, part) = side_by_side(document("http://one/path"), document("http://two/path"))
    (line,) = (line for line in part.lines if line.change == "changed")
    assert line.old is not None
    assert line.new is not None
    assert (line.old.before, line.old.differs, line.old.after) == ("  url: http://", "one", "/path")
    assert line.new.differs == "two"
    assert (part.added, part.removed) == (1, 1)


def test_a_step_that_was_removed_stands_where_it_stood() -> None:
    def document(*ids: str) -> dict[str, Any]:
        return {"name": "n", "steps": [{"id": id_, "type": "noop"} for id_ in ids]}

    parts = side_by_side(document("x", "a", "y", "b"), document("b", "a", "c"))
    assert [(part.step, part.change) for part in parts] == [
        (None, "same"), ("x", "removed"), ("b", "same"), ("a", "same"), ("y", "removed"), ("c", "added"),
    ]  # fmt: skip


def test_what_is_far_from_a_change_is_left_out_and_counted() -> None:
    def document(last: str) -> dict[str, Any]:
        text = "\n".join([*(f"select {n};" for n in range(40)), last])
        return {"name": "n", "steps": [{"id": "a", "type": "database", "inputs": {"sql": text}}]}

    old, new = document("select 'old';"), document("select 'new';")
    (_, part) = side_by_side(old, new)
    texts = (as_yaml(each["steps"][0]).splitlines() for each in (old, new))
    assert_shows(part, *texts)
    assert len(part.lines) < 8
