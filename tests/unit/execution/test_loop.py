"""`loop` on the worker: iteration after iteration."""

from typing import Any

from support.attempts import claim, error, failed_scopes, output, resumed, run, scopes, step

from workflow_engine.definition.step_plan import Loop


def loop(until: str = "result.done", max_iterations: int = 3, **fields: Any):
    return step("loop", loop=Loop(1, until, max_iterations, **fields))


async def test_a_loop_ends_with_the_output_of_the_iteration_in_which_its_condition_holds() -> None:
    repeated = loop()
    begun = await run(repeated, claim())
    assert begun.awaits["instances"] == [{"position": 1, "variables": {"iteration": 1, "last": None}}]
    again = await run(repeated, resumed(begun, **scopes([{"done": False, "n": 1}], position=1)))
    assert again.awaits["instances"] == [
        {"position": 2, "variables": {"iteration": 2, "last": {"done": False, "n": 1}}}
    ]
    ended = await run(repeated, resumed(again, **scopes([{"done": True, "n": 2}], position=2)))
    assert output(ended) == {"done": True, "n": 2}


async def test_the_delay_is_before_every_iteration_but_the_first() -> None:
    begun = await run(loop(delay=10.0), claim())
    assert "delay" not in begun.awaits
    again = await run(loop(delay=10.0), resumed(begun, **scopes([{"done": False}], position=1)))
    assert again.awaits["delay"] == 10.0


async def test_a_condition_may_compare_an_iteration_with_the_one_before() -> None:
    same = loop("iteration > 1 && result == last")
    begun = await run(same, claim())
    second = await run(same, resumed(begun, **scopes([7], position=1)))
    third = await run(same, resumed(second, **scopes([8], position=2)))
    assert output(await run(same, resumed(third, **scopes([8], position=3)))) == 8


async def test_a_loop_that_comes_to_no_end_fails() -> None:
    begun = await run(loop(max_iterations=1), claim())
    found = error(await run(loop(max_iterations=1), resumed(begun, **scopes([{"done": False}], position=1))))
    assert (found["type"], found["retryable"]) == ("loop_limit", False)
    assert "1 iterations" in found["message"]


async def test_a_failed_iteration_fails_the_loop() -> None:
    begun = await run(loop(), claim())
    assert error(await run(loop(), resumed(begun, **failed_scopes())))["type"] == "user.broken"


async def test_a_condition_that_cannot_be_evaluated_fails_the_loop() -> None:
    begun = await run(loop(), claim())
    assert error(await run(loop(), resumed(begun, **scopes([{}], position=1))))["type"] == "expression"
