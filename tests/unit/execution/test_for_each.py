"""`for_each` on the worker: from items to scopes, from scopes to a list."""

from typing import Any

import pytest
from support.attempts import claim, error, failed_scopes, output, resumed, run, scopes, step

from workflow_engine.definition.step_plan import ForEach
from workflow_engine.definition.templates import Template


def each(items: Any, **fields: Any):
    return step("for_each", for_each=ForEach(Template(items), 1, **fields))


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (["x", "y"], ["x", "y"]),
        ({"b": 1, "a": 2}, [{"key": "b", "value": 1}, {"key": "a", "value": 2}]),
        (3, [0, 1, 2]),
    ],
)
async def test_a_list_an_object_and_a_number_give_an_item_each(items: Any, expected: list[Any]) -> None:
    ended = await run(each("${ input.items }"), claim(input={"items": items}))
    assert ended.outcome == "waiting"
    assert ended.awaits["kind"] == "scope"
    assert ended.awaits["scope"] == 1
    assert [one["position"] for one in ended.awaits["instances"]] == list(range(len(expected)))
    assert [one["variables"] for one in ended.awaits["instances"]] == [
        {"item": item, "index": index} for index, item in enumerate(expected)
    ]


@pytest.mark.parametrize("items", [[], {}, 0])
async def test_no_items_are_an_empty_list_at_once(items: Any) -> None:
    assert output(await run(each("${ input.items }"), claim(input={"items": items}))) == []


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ("text", "not a string"),
        (True, "not a boolean"),
        (None, "not null"),
        (1.5, "not a number"),
        (-1, "cannot take -1"),
        (10_001, "at most 10,000 items and got 10,001"),
        ([0] * 10_001, "at most 10,000 items and got 10,001"),
    ],
)
async def test_what_cannot_be_items_fails_for_good(items: Any, message: str) -> None:
    found = error(await run(each("${ input.items }"), claim(input={"items": items})))
    assert (found["type"], found["retryable"]) == ("validation", False)
    assert message in found["message"]


async def test_items_are_bounded_as_payloads_are() -> None:
    items = ["x" * 100] * 100
    found = error(await run(each("${ input.items }"), claim(input={"items": items}), payload_bytes=1024))
    assert found["type"] == "payload_too_large"


async def test_concurrency_is_the_width_and_the_item_has_the_name_it_is_given() -> None:
    ended = await run(each([1], as_="order", concurrency=7), claim())
    assert ended.awaits["width"] == 7
    assert ended.awaits["instances"][0]["variables"] == {"order": 1, "index": 0}


@pytest.mark.parametrize(
    ("fields", "count", "expected"),
    [
        ({}, 10, 0),
        ({"max_failures": 3}, 10, 3),
        ({"max_failure_ratio": 0.29}, 100, 29),
        ({"max_failure_ratio": 0.1}, 19, 1),
        ({"max_failures": 1, "max_failure_ratio": 0.5}, 10, 5),
        ({"max_failures": 8, "max_failure_ratio": 0.5}, 10, 8),
        ({"max_failure_ratio": 1.0}, 3, 3),
    ],
)
async def test_so_many_items_may_fail_as_the_number_or_the_ratio_allows(
    fields: dict[str, Any], count: int, expected: int
) -> None:
    assert (await run(each(count, **fields), claim())).awaits["tolerated"] == expected


async def test_the_outputs_are_the_output_in_the_order_of_the_items() -> None:
    begun = await run(each(3), claim())
    assert output(await run(each(3), resumed(begun, **scopes([1, None, 3], position=2)))) == [1, None, 3]


async def test_a_failed_map_has_the_error_of_the_item_that_failed_it_and_is_not_tried_again() -> None:
    begun = await run(each(3), claim())
    ended = await run(each(3), resumed(begun, **failed_scopes("http.503", step="fetch")))
    assert ended.outcome == "failed"
    assert error(ended) == {
        "type": "http.503", "message": "Broken.", "retryable": True, "attempt": 3, "details": {}, "step": "fetch",
    }  # fmt: skip
