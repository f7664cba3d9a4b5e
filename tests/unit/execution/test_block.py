"""`block` on the worker: its output, its retries and its time."""

from support.attempts import claim, error, failed_scopes, output, resumed, run, scopes, step

from workflow_engine.definition.retries import RetryPolicy
from workflow_engine.definition.step_plan import Block
from workflow_engine.definition.templates import Template

BLOCK = step("block", block=Block(1))


async def test_without_a_template_the_output_is_that_of_its_last_steps() -> None:
    begun = await run(BLOCK, claim())
    assert begun.awaits["instances"] == [{"position": 0, "variables": {}}]
    assert output(await run(BLOCK, resumed(begun, **scopes([{"b": 1}])))) == {"b": 1}


async def test_its_template_sees_the_steps_inside_and_those_around_it() -> None:
    shaped = step("block", block=Block(1, Template({"sum": "${ steps.inner.output + steps.outer.output }"})))
    begun = await run(shaped, claim())
    ended = resumed(begun, **scopes([{}], steps={"inner": {"status": "succeeded", "output": 2}}))
    outer = {"outer": {"status": "succeeded", "output": 3}, "inner": {"status": "succeeded", "output": 100}}
    assert output(await run(shaped, claim(**{**_fields(ended), "steps": outer}))) == {"sum": 5}


async def test_a_block_is_tried_again_only_if_it_says_so() -> None:
    begun = await run(BLOCK, claim())
    assert (await run(BLOCK, resumed(begun, **failed_scopes()))).outcome == "failed"
    patient = step("block", block=Block(1), retries=RetryPolicy(max_attempts=2, jitter="none", initial_delay=5))
    begun = await run(patient, claim())
    again = await run(patient, resumed(begun, **failed_scopes()))
    assert (again.outcome, again.delay) == ("retried", 5)
    final = await run(patient, resumed(begun, **failed_scopes(retryable=False)))
    assert final.outcome == "failed"


async def test_its_timeout_bounds_the_wait_for_its_steps() -> None:
    short = step("block", block=Block(1), timeout=60.0)
    begun = await run(short, claim(elapsed_seconds=100.0))
    assert begun.awaits["deadline"] == 60.0
    late = error(await run(short, resumed(begun, due=True, elapsed=160.1, ended=False)))
    assert late["type"] == "timeout"
    assert late["details"] == {"kind": "start_to_close", "timeout": 60.0}


async def test_the_engines_default_timeout_is_for_handlers_only() -> None:
    assert "deadline" not in (await run(BLOCK, claim())).awaits


async def test_a_block_whose_steps_are_through_at_its_last_moment_has_succeeded() -> None:
    begun = await run(BLOCK, claim())
    assert output(await run(BLOCK, resumed(begun, due=True, **scopes([{"b": 1}])))) == {"b": 1}


def _fields(claim_):
    return {name: getattr(claim_, name) for name in claim_.__dataclass_fields__}
