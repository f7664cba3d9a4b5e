"""Endings, time limits and children from definition to end: compiled, executed, and decided by the SQL core."""

from typing import Any

import pytest

from workflow_engine.errors import TaskError

from .engine import Engine
from .player import Player


class Ledger:
    """What the steps of the type `work` did, in order: `text`, and it fails where `fails` is set."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    async def __call__(self, inputs: dict[str, Any], ctx: Any) -> Any:
        self.lines.append(inputs["text"])
        if inputs.get("fails"):
            raise TaskError("user.broken", "It broke.", retryable=False)
        return {"id": inputs["text"]}


def work(id: str, text: str, **fields: Any) -> dict[str, Any]:
    return {"id": id, "type": "work", "inputs": {"text": text, **fields.pop("inputs", {})}, **fields}


def undo(text: str) -> dict[str, Any]:
    return {"type": "work", "inputs": {"text": text}}


def test_the_output_of_a_workflow_is_its_template(engine: Engine) -> None:
    steps = [{"id": "a", "type": "transform", "value": 20}, {"id": "b", "type": "noop"}]
    output = {"doubled": "${ steps.a.output * 2 }", "who": "${ input.who }"}
    assert Player(engine).play(steps, {"who": "x"}, output=output) == ("succeeded", {"doubled": 40, "who": "x"})


def test_an_output_that_refers_to_what_is_not_there_fails_the_workflow(engine: Engine) -> None:
    ledger = Ledger()
    steps = [{"id": "a", "type": "noop", "when": "false"}]
    on_failure = {"steps": [work("tell", "${ workflow.error.type } in ${ workflow.error.step }")]}
    status, error = Player(engine, ledger).play(steps, output="${ steps.a.output.x }", on_failure=on_failure)
    assert (status, error["type"], error["step"]) == ("failed", "expression", "output")
    assert ledger.lines == ["expression in output"]


def test_a_saga_is_undone_backwards_and_its_handlers_know_why(engine: Engine) -> None:
    ledger = Ledger()
    steps = [
        work("charge", "charge", compensate=undo("refund ${ steps.charge.output.id }")),
        {
            "id": "parcels", "type": "block", "depends_on": ["charge"],
            "for_each": {"items": "${ 2 }", "concurrency": 1},
            "steps": [work("pack", "pack ${ item }", compensate=undo("unpack ${ item }"))],
        },
        work("ship", "ship", depends_on=["parcels"], inputs={"fails": True}),
    ]  # fmt: skip
    status, error = Player(engine, ledger).play(
        steps,
        on_failure={"steps": [work("tell", "tell ${ workflow.status } ${ workflow.error.type }")]},
        on_exit={"steps": [work("first", "exit of ${ steps.charge.status }"),
                           work("second", "done", depends_on=["first"])]},
    )  # fmt: skip
    assert (status, error["step"], error["type"]) == ("failed", "ship", "user.broken")
    assert ledger.lines == [
        "charge", "pack 0", "pack 1", "ship", "unpack 1", "unpack 0", "refund charge", "tell failed user.broken",
        "exit of succeeded", "done",
    ]  # fmt: skip


def test_on_exit_runs_for_a_success_too_and_on_failure_does_not(engine: Engine) -> None:
    ledger = Ledger()
    status, output = Player(engine, ledger).play(
        [work("a", "a")],
        on_failure={"steps": [work("tell", "failed")]},
        on_exit={"steps": [work("tidy", "exit ${ workflow.status }")]},
    )
    assert (status, output) == ("succeeded", {"a": {"id": "a"}})
    assert ledger.lines == ["a", "exit succeeded"]


def test_a_handler_that_fails_is_tried_again_as_its_steps_say(engine: Engine) -> None:
    tries: list[int] = []

    async def flaky(inputs: dict[str, Any], ctx: Any) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise TaskError("http.503", "busy", retryable=True)

    tidy = {"id": "tidy", "type": "work", "retries": {"max_attempts": 3, "initial_delay": "1s"}}
    assert Player(engine, flaky).play([{"id": "a", "type": "noop"}], on_exit={"steps": [tidy]})[0] == "succeeded"
    assert len(tries) == 3


def test_terminate_from_inside_a_map_ends_everything_and_on_exit_runs(engine: Engine) -> None:
    ledger = Ledger()
    inputs = {"status": "cancelled", "reason": "Enough of ${ item }.", "output": {"at": "${ item }"}}
    stop = {"id": "stop", "type": "terminate", "when": "item == 1", "inputs": inputs}
    steps = [
        {"id": "m", "type": "block", "steps": [stop], "for_each": {"items": "${ 3 }", "concurrency": 1}},
        work("after", "after", depends_on=["m"]),
    ]
    player = Player(engine, ledger)
    workflow = player.start(steps, on_exit={"steps": [work("tidy", "exit ${ workflow.status }")]})
    player.run()
    found = engine.workflow(workflow)
    assert (found["status"], found["output"], found["error"]["message"]) == ("cancelled", {"at": 1}, "Enough of 1.")
    assert ledger.lines == ["exit cancelled"]


def test_a_cancelled_workflow_is_undone(engine: Engine) -> None:
    ledger = Ledger()
    player = Player(engine, ledger)
    wait = {"id": "w", "type": "wait", "inputs": {"duration": "1h"}, "depends_on": ["a"]}
    workflow = player.start([work("a", "a", compensate=undo("not a")), wait])
    player.run(move=False)
    engine.cancel(workflow)
    player.run()
    assert engine.status(workflow) == "cancelled"
    assert ledger.lines == ["a", "not a"]


def test_a_child_has_its_ending_and_its_parent_the_error_and_both_are_undone(engine: Engine) -> None:
    ledger = Ledger()
    child = {
        "steps": [work("c", "c", compensate=undo("not c")), work("d", "d of ${ workflow.parent_id }", depends_on=["c"],
                                                                  inputs={"fails": True})],
        "on_exit": {"steps": [work("tidy", "child exits")]},
    }  # fmt: skip
    steps = [
        work("p", "p", compensate=undo("not p")),
        {"id": "call", "type": "workflow", "definition": child, "depends_on": ["p"]},
    ]
    player = Player(engine, ledger)
    workflow = player.start(steps)
    player.run()
    status, error = player.outcome(workflow)
    assert (status, error["type"], error["step"]) == ("failed", "user.broken", "call")
    assert ledger.lines == ["p", "c", f"d of {workflow}", "not c", "child exits", "not p"]


@pytest.mark.parametrize("steps", [False, True])
def test_a_child_is_caught_when_it_takes_too_long_and_is_cancelled(engine: Engine, steps: bool) -> None:
    child = {"steps": [{"id": "w", "type": "wait", "inputs": {"duration": "1h"}}]}
    caught = {"errors": ["timeout"], "output": "late", "steps": [{"id": "tell", "type": "noop"}] if steps else []}
    call = {"id": "call", "type": "workflow", "definition": child, "timeout": "60s",
            "on_error": {"catch": [{name: value for name, value in caught.items() if value}]}}  # fmt: skip
    player = Player(engine)
    workflow = player.start([call])
    player.run(move=False)
    player.wait(61)
    player.run(move=False)
    assert player.outcome(workflow) == ("succeeded", {"call": "late"})
    engine.value("select workflow.sweep_children()")
    (its,) = engine.rows("select status from workflow.workflows where parent_id = %s", workflow)
    assert its == {"status": "cancelled"}


def test_a_map_of_children_keeps_their_outputs_in_order(engine: Engine) -> None:
    child = {"steps": [{"id": "t", "type": "transform", "expression": "input.n * 10"}],
             "output": "${ steps.t.output }"}  # fmt: skip
    call = {"id": "call", "type": "workflow", "definition": child, "inputs": {"input": {"n": "${ item }"}},
            "for_each": {"items": "${ input.l }", "concurrency": 2}}  # fmt: skip
    assert Player(engine).play([call], {"l": [3, 1, 2]}) == ("succeeded", {"call": [30, 10, 20]})


def test_a_workflow_out_of_time_is_told_which_time(engine: Engine) -> None:
    ledger = Ledger()
    player = Player(engine, ledger)
    workflow = player.start(
        [{"id": "w", "type": "signal", "inputs": {"name": "never"}}],
        timeout="1h",
        on_failure={"steps": [work("tell", "${ workflow.error.details.kind }")]},
    )
    player.run()
    player.wait(3601)
    assert engine.value("select workflow.sweep_timed_out()") == 1
    player.run()
    status, error = player.outcome(workflow)
    assert (status, error["type"]) == ("failed", "timeout")
    assert ledger.lines == ["workflow"]
