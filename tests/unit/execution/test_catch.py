"""`catch` on the worker: which one matches, and what becomes of the error."""

from support.attempts import claim, error, failed_scopes, output, resumed, run, scopes, step

from workflow_engine.definition.retries import RetryPolicy
from workflow_engine.definition.step_plan import Block, Catch
from workflow_engine.definition.templates import Template
from workflow_engine.errors import TaskError


async def broken(inputs, ctx):
    raise TaskError("http.404", "Not there", retryable=False)


def caught(*catches: Catch, **fields):
    return step(catch=catches, **fields)


async def test_the_first_catch_that_matches_gives_the_output() -> None:
    risky = caught(
        Catch(("timeout",), output=Template("no")),
        Catch(("http.4xx",), when="error.message == 'Elsewhere'", output=Template("no")),
        Catch(("http.404",), output=Template({"was": "${ error.type }", "of": "${ input.x }"})),
        Catch(("*",), output=Template("late")),
    )
    assert output(await run(risky, claim(input={"x": 1}), broken)) == {"was": "http.404", "of": 1}


async def test_what_no_catch_matches_fails() -> None:
    assert error(await run(caught(Catch(("timeout",))), claim(), broken))["type"] == "http.404"


async def test_an_error_is_caught_when_no_try_is_left() -> None:
    async def away(inputs, ctx):
        raise TaskError("connection", "Away")

    patient = caught(Catch(("*",), output=Template("caught")), retries=RetryPolicy(max_attempts=2))
    assert (await run(patient, claim(), away)).outcome == "retried"
    assert output(await run(patient, claim(attempt=2, tries=1), away)) == "caught"


async def test_a_catch_without_output_and_steps_gives_null() -> None:
    assert output(await run(caught(Catch(("*",))), claim(), broken)) is None


async def test_errors_of_expressions_are_caught_too() -> None:
    risky = caught(Catch(("expression",), output=Template("caught")), inputs={"x": "${ input.missing }"})
    assert output(await run(risky, claim(), broken)) == "caught"
    risky = caught(Catch(("expression",), output=Template("caught")), when="input.missing")
    assert output(await run(risky, claim(), broken)) == "caught"


async def test_errors_that_postgres_found_are_caught_without_running_anything() -> None:
    lost = {"type": "worker_lost", "message": "Lost", "retryable": True, "attempt": 3, "details": {}}
    assert output(await run(caught(Catch(("worker_lost",), output=Template("caught"))), claim(raised=lost))) == "caught"
    other = await run(caught(Catch(("timeout",))), claim(raised=lost))
    assert (other.outcome, other.error) == ("failed", lost)


async def test_the_steps_of_a_catch_run_with_the_error_and_give_the_output() -> None:
    risky = caught(Catch(("*",), scope=4))
    waits = await run(risky, claim(), broken)
    assert waits.outcome == "waiting"
    assert waits.awaits["scope"] == 4
    (instance,) = waits.awaits["instances"]
    assert instance["variables"]["error"]["type"] == "http.404"
    assert output(await run(risky, resumed(waits, **scopes([{"undo": 1}])), broken)) == {"undo": 1}


async def test_the_output_of_a_catch_sees_its_steps() -> None:
    risky = caught(Catch(("*",), scope=4, output=Template("${ error.type + steps.undo.output }")))
    waits = await run(risky, claim(), broken)
    ended = await run(risky, resumed(waits, **scopes([{}], steps={"undo": {"output": "!"}})), broken)
    assert output(ended) == "http.404!"


async def test_what_goes_wrong_in_a_catch_is_not_caught_again() -> None:
    risky = caught(Catch(("*",), scope=4))
    waits = await run(risky, claim(), broken)
    found = error(await run(risky, resumed(waits, **failed_scopes()), broken))
    assert found["type"] == "user.broken"
    assert found["details"]["caught"]["type"] == "http.404"
    for catch in (Catch(("*",), output=Template("${ error.nothing }")), Catch(("*",), when="error.nothing")):
        ended = await run(caught(catch, Catch(("*",))), claim(), broken)
        assert ended.outcome == "failed"


async def test_a_failed_block_is_caught_outside_its_timeout() -> None:
    risky = step("block", block=Block(1), timeout=60.0, catch=(Catch(("user",), scope=2),))
    begun = await run(risky, claim())
    waits = await run(risky, resumed(begun, elapsed=30.0, **failed_scopes()))
    assert (waits.awaits["scope"], "deadline" in waits.awaits) == (2, False)
    assert output(await run(risky, resumed(waits, elapsed=90.0, **scopes(["undone"])))) == "undone"
