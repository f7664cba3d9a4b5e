"""`switch` on the worker."""

import pytest
from support.attempts import claim, error, output, run, step

from workflow_engine.definition.step_plan import Case, Switch

CASES = (Case("big", "input.n > 100"), Case("even", "input.n % 2 == 0"), Case("hundred", "input.n == 100"))


@pytest.mark.parametrize(
    ("n", "mode", "default", "expected"),
    [
        (102, "first", "default", ["big"]),
        (100, "first", "default", ["even"]),
        (102, "all", "default", ["big", "even"]),
        (1, "first", "default", ["default"]),
        (1, "all", "other", ["other"]),
        (100, "all", "other", ["even", "hundred"]),
    ],
)
async def test_a_switch_chooses_its_cases(n: int, mode: str, default: str, expected: list[str]) -> None:
    ended = await run(step("switch", switch=Switch(CASES, default, mode)), claim(input={"n": n}))
    assert output(ended) == {"cases": expected}


async def test_a_condition_that_cannot_be_evaluated_fails_the_switch() -> None:
    assert error(await run(step("switch", switch=Switch(CASES)), claim()))["type"] == "expression"
