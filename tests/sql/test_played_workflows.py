"""Loops, maps, blocks and catches from definition to end: compiled, executed, and decided by the SQL core."""

from typing import Any

import pytest

from workflow_engine.errors import TaskError

from .engine import Engine
from .player import Player


async def add_one(inputs: dict[str, Any], ctx: Any) -> Any:
    return inputs["n"] + 1


def failing_for(*wanted: Any, retryable: bool = False):
    """Gives back `n`, and fails for some values of it."""

    async def work(inputs: dict[str, Any], ctx: Any) -> Any:
        if inputs["n"] in wanted:
            raise TaskError("user.bad", f"{inputs['n']} is bad", retryable=retryable)
        return inputs["n"]

    return work


# for_each -------------------------------------------------------------------------------------------------------------


def test_a_map_keeps_the_order_of_its_items(engine: Engine) -> None:
    step = {"id": "m", "type": "work", "inputs": {"n": "${ item * 10 + index }"}, "for_each": {"items": "${ input.l }"}}
    player = Player(engine, add_one)
    assert player.play([step], {"l": [3, 1, 2]}) == ("succeeded", {"m": [31, 12, 23]})
    assert sorted(player.paths) == ["m[0]", "m[1]", "m[2]"]


def test_an_empty_map_succeeds_with_an_empty_list(engine: Engine) -> None:
    steps = [
        {"id": "m", "type": "work", "inputs": {"n": "${ item }"}, "for_each": {"items": "${ input.l }"}},
        {"id": "after", "type": "transform", "expression": "size(steps.m.output)"},
    ]
    assert Player(engine).play(steps, {"l": []}) == ("succeeded", {"after": 0})


def test_no_more_items_run_at_a_time_than_the_map_allows(engine: Engine) -> None:
    together: list[int] = []

    async def work(inputs: dict[str, Any], ctx: Any) -> Any:
        together.append(engine.value("select count(*) from workflow.tasks where status in ('pending', 'running')"))

    step = {"id": "m", "type": "work", "for_each": {"items": "${ 7 }", "concurrency": 2}}
    status, output = Player(engine, work).play([step])
    assert (status, output) == ("succeeded", {"m": [None] * 7})
    assert max(together) == 2


def test_tolerated_failures_are_null_in_the_list(engine: Engine) -> None:
    step = {
        "id": "m", "type": "work", "inputs": {"n": "${ item }"}, "for_each": {"items": "${ 5 }", "max_failures": 2},
    }  # fmt: skip
    assert Player(engine, failing_for(1, 3)).play([step]) == ("succeeded", {"m": [0, None, 2, None, 4]})
    status, error = Player(engine, failing_for(1, 3, 4)).play([step])
    assert (status, error["type"]) == ("failed", "user.bad")


def test_an_item_is_tried_again_alone(engine: Engine) -> None:
    seen: list[Any] = []

    async def work(inputs: dict[str, Any], ctx: Any) -> Any:
        seen.append((inputs["n"], ctx.attempt))
        if inputs["n"] == 1 and ctx.attempt == 1:
            raise TaskError("connection", "Away")
        return inputs["n"]

    step = {"id": "m", "type": "work", "inputs": {"n": "${ item }"}, "for_each": {"items": "${ 3 }"}, "retries": 1}
    assert Player(engine, work).play([step]) == ("succeeded", {"m": [0, 1, 2]})
    assert sorted(seen) == [(0, 1), (1, 1), (1, 2), (2, 1)]


def test_an_object_gives_pairs_and_items_may_have_another_name(engine: Engine) -> None:
    step = {
        "id": "m", "type": "transform", "value": "${ pair.key + string(pair.value) }",
        "for_each": {"items": "${ input.o }", "as": "pair"},
    }  # fmt: skip
    status, output = Player(engine).play([step], {"o": {"a": 1, "b": 2}})
    assert (status, sorted(output["m"])) == ("succeeded", ["a1", "b2"])


# loop -----------------------------------------------------------------------------------------------------------------


def test_a_loop_waits_between_its_iterations_and_sees_the_last_output(engine: Engine) -> None:
    step = {
        "id": "poll", "type": "work", "inputs": {"n": "${ iteration == 1 ? 0 : last }"},
        "loop": {"until": "result >= 3", "max_iterations": 9, "delay": "10m"},
    }  # fmt: skip
    player = Player(engine, add_one)
    workflow = player.start([step])
    player.run(move=False)
    assert player.outcome(workflow)[0] == "running"
    player.wait(599)
    player.run(move=False)
    assert player.paths == ["poll[1]"]
    player.wait(1.1)
    player.run(move=False)
    assert player.paths == ["poll[1]", "poll[2]"]
    player.run()
    assert player.outcome(workflow) == ("succeeded", {"poll": 3})


def test_a_loop_without_end_fails(engine: Engine) -> None:
    step = {"id": "poll", "type": "noop", "loop": {"until": "false", "max_iterations": 3}}
    player = Player(engine)
    status, error = player.play([step])
    assert (status, error["type"]) == ("failed", "loop_limit")
    assert player.paths == ["poll[1]", "poll[2]", "poll[3]"]


# block ----------------------------------------------------------------------------------------------------------------

PAIR = [
    {"id": "a", "type": "work", "inputs": {"n": "${ input.n }"}},
    {"id": "b", "type": "work", "inputs": {"n": "${ steps.a.output }"}},
]


def test_a_block_gives_the_outputs_of_its_last_steps_or_what_its_template_says(engine: Engine) -> None:
    block = {"id": "pair", "type": "block", "steps": PAIR}
    player = Player(engine, add_one)
    assert player.play([block], {"n": 1}) == ("succeeded", {"pair": {"b": 3}})
    assert player.paths == ["pair.a", "pair.b"]
    shaped = {**block, "output": {"both": "${ [steps.a.output, steps.b.output] }"}}
    assert Player(engine, add_one).play([shaped], {"n": 1}) == ("succeeded", {"pair": {"both": [2, 3]}})


def test_a_block_is_tried_again_as_a_whole(engine: Engine) -> None:
    tries: list[str] = []

    async def work(inputs: dict[str, Any], ctx: Any) -> Any:
        tries.append(ctx.path)
        if ctx.path == "pair.b" and len(tries) < 4:
            raise TaskError("connection", "Away")
        return len(tries)

    steps = [{"id": "a", "type": "work"}, {"id": "b", "type": "work", "depends_on": ["a"], "retries": 0}]
    block = {"id": "pair", "type": "block", "steps": steps, "retries": {"max_attempts": 2, "initial_delay": "5s"}}
    assert Player(engine, work).play([block]) == ("succeeded", {"pair": {"b": 4}})
    assert tries == ["pair.a", "pair.b", "pair.a", "pair.b"]


def test_a_block_that_takes_too_long_fails_with_all_that_is_in_it(engine: Engine) -> None:
    block = {
        "id": "slow", "type": "block", "timeout": "1m",
        "steps": [{"id": "w", "type": "wait", "duration": "1h"}, {"id": "x", "type": "noop", "depends_on": ["w"]}],
    }  # fmt: skip
    player = Player(engine)
    status, error = player.play([block])
    assert (status, error["type"], error["details"]["timeout"]) == ("failed", "timeout", 60.0)
    assert player.paths == []
    assert engine.value("select count(*) from workflow.tasks where finished_at is null") == 0


# catch ----------------------------------------------------------------------------------------------------------------


def test_a_caught_error_becomes_an_output(engine: Engine) -> None:
    step = {
        "id": "risky", "type": "work", "inputs": {"n": 1},
        "on_error": {"catch": [{"errors": ["user.bad"], "output": {"instead": "${ error.message }"}}]},
    }  # fmt: skip
    assert Player(engine, failing_for(1)).play([step]) == ("succeeded", {"risky": {"instead": "1 is bad"}})


def test_the_steps_of_a_catch_run_in_place_of_what_failed(engine: Engine) -> None:
    repair = [
        {"id": "tell", "type": "transform", "value": "${ error.type }"},
        {"id": "mend", "type": "transform", "value": "${ steps.tell.output + ', mended' }"},
    ]
    steps = [
        {"id": "risky", "type": "block", "steps": [{"id": "x", "type": "fail", "inputs": {"type": "bad"}}],
         "on_error": {"catch": [{"errors": ["*"], "steps": repair}]}},
        {"id": "after", "type": "transform", "value": "${ steps.risky.output }"},
    ]  # fmt: skip
    player = Player(engine)
    assert player.play(steps) == ("succeeded", {"after": {"mend": "user.bad, mended"}})
    assert player.paths == ["risky.x", "risky.catch.tell", "risky.catch.mend", "after"]


def test_a_block_out_of_time_is_caught_and_its_steps_are_stopped(engine: Engine) -> None:
    block = {
        "id": "slow", "type": "block", "timeout": "1m", "steps": [{"id": "w", "type": "wait", "duration": "1h"}],
        "on_error": {"catch": [{"errors": ["timeout"], "steps": [{"id": "late", "type": "wait", "duration": "2h"}]}]},
    }  # fmt: skip
    player = Player(engine)
    workflow = player.start([block])
    player.run(move=False)
    player.wait(61)
    player.run(move=False)
    assert engine.value("select count(*) from workflow.tasks where status = 'cancelled'") == 1
    player.run()
    assert player.outcome(workflow) == ("succeeded", {"slow": {"late": None}})


def test_a_time_limit_that_passes_while_a_catch_runs_is_not_caught_again(engine: Engine) -> None:
    step = {
        "id": "risky", "type": "fail", "timeouts": {"schedule_to_close": "1h"},
        "on_error": {"catch": [{"errors": ["*"], "steps": [{"id": "long", "type": "wait", "duration": "3h"}]}]},
    }  # fmt: skip
    player = Player(engine)
    workflow = player.start([step])
    player.run(move=False)
    player.wait(3601)
    engine.value("select workflow.sweep_deadlines()")
    player.run(move=False)
    status, error = player.outcome(workflow)
    assert (status, error["type"], error["details"]["kind"]) == ("failed", "timeout", "schedule_to_close")
    assert player.paths == ["risky"]


# One in the other -----------------------------------------------------------------------------------------------------


def test_a_loop_in_a_map_in_a_block(engine: Engine) -> None:
    block = {
        "id": "outer", "type": "block",
        "steps": [
            {"id": "base", "type": "transform", "value": 100},
            {"id": "each", "type": "work", "inputs": {"n": "${ iteration == 1 ? item + steps.base.output : last }"},
             "for_each": {"items": "${ input.l }", "concurrency": 2},
             "loop": {"until": "result >= 103", "max_iterations": 5}},
        ],
        "output": "${ steps.each.output }",
    }  # fmt: skip
    player = Player(engine, add_one)
    assert player.play([block], {"l": [0, 5, 1]}) == ("succeeded", {"outer": [103, 106, 103]})
    assert "outer.each[0][3]" in player.paths


def test_a_map_of_blocks_with_a_catch_in_each(engine: Engine) -> None:
    inner = {
        "id": "try", "type": "work", "inputs": {"n": "${ item }"},
        "on_error": {"catch": [{"errors": ["*"], "steps": [
            {"id": "undo", "type": "transform", "value": "${ 'undone ' + string(item) }"}]}]},
    }  # fmt: skip
    step = {
        "id": "each", "type": "block", "for_each": {"items": "${ 3 }"}, "steps": [inner],
        "output": "${ steps.try.output }",
    }  # fmt: skip
    player = Player(engine, failing_for(1))
    assert player.play([step]) == ("succeeded", {"each": [0, {"undo": "undone 1"}, 2]})
    assert "each[1].try.catch.undo" in player.paths


def test_a_map_in_a_map_sees_the_items_of_both(engine: Engine) -> None:
    step = {
        "id": "rows", "type": "block", "for_each": {"items": "${ input.rows }", "as": "row"},
        "steps": [{"id": "cells", "type": "transform", "value": "${ row.f * cell }",
                   "for_each": {"items": "${ row.cells }", "as": "cell"}}],
        "output": "${ steps.cells.output }",
    }  # fmt: skip
    rows = [{"f": 10, "cells": [1, 2]}, {"f": 100, "cells": []}, {"f": 1000, "cells": [3]}]
    assert Player(engine).play([step], {"rows": rows}) == ("succeeded", {"rows": [[10, 20], [], [3000]]})


# What waits -----------------------------------------------------------------------------------------------------------


def test_a_wait_ends_at_its_time(engine: Engine) -> None:
    player = Player(engine)
    workflow = player.start([{"id": "w", "type": "wait", "duration": "2h"}])
    player.run(move=False)
    player.wait(7199)
    player.run(move=False)
    assert player.outcome(workflow)[0] == "running"
    player.wait(1.1)
    player.run(move=False)
    assert player.outcome(workflow) == ("succeeded", {"w": None})


@pytest.mark.parametrize("early", [True, False])
def test_a_signal_counts_whether_it_comes_before_the_wait_or_after(engine: Engine, early: bool) -> None:
    step = {"id": "s", "type": "signal", "inputs": {"name": "paid", "match": "event.payload.order == input.order"}}
    player = Player(engine)
    workflow = player.start([step], {"order": 2})
    if not early:
        player.run(move=False)
    for order in (1, 2, 2):
        engine.signal(workflow, "paid", {"order": order}, by="shop")
    player.run(move=False)
    status, output = player.outcome(workflow)
    assert status == "succeeded"
    assert (output["s"]["payload"], output["s"]["by"]) == ({"order": 2}, "shop")


def test_a_signal_that_does_not_come_goes_on_without(engine: Engine) -> None:
    step = {"id": "s", "type": "signal", "inputs": {"name": "x", "timeout": "1h", "on_timeout": "continue"}}
    assert Player(engine).play([step]) == ("succeeded", {"s": None})


def test_the_outcome_of_an_approval_chooses_what_runs(engine: Engine) -> None:
    steps = [
        {"id": "ask", "type": "approval", "prompt": "Ship?", "outcomes": ["yes", "no"]},
        {"id": "route", "type": "switch", "cases": [{"id": "yes", "when": "steps.ask.output.outcome == 'yes'"}]},
        {"id": "ship", "type": "noop", "depends_on": [{"step": "route", "case": "yes"}]},
        {"id": "stop", "type": "noop", "depends_on": [{"step": "route", "case": "default"}]},
    ]
    player = Player(engine)
    workflow = player.start(steps)
    player.run(move=False)
    engine.answer(engine.value("select id from workflow.approvals where status = 'open'"), "no", by="ann")
    player.run(move=False)
    assert player.outcome(workflow)[0] == "succeeded"
    assert player.paths == ["stop"]


def test_a_child_gives_its_output_or_its_error(engine: Engine) -> None:
    child = {"name": "inner", "steps": [{"id": "x", "type": "work", "inputs": {"n": "${ input.n }"}}],
             "output": {"got": "${ steps.x.output }"}}  # fmt: skip
    step = {"id": "c", "type": "workflow", "inputs": {"definition": child, "input": {"n": "${ input.n }"}}}
    assert Player(engine, failing_for(1)).play([step], {"n": 2}) == ("succeeded", {"c": {"got": 2}})
    status, error = Player(engine, failing_for(1)).play([step], {"n": 1})
    assert (status, error["type"]) == ("failed", "user.bad")


def test_terminate_ends_the_workflow_with_its_output(engine: Engine) -> None:
    steps = [
        {"id": "stop", "type": "terminate", "inputs": {"status": "succeeded", "output": {"why": "enough"}}},
        {"id": "long", "type": "wait", "duration": "1h"},
    ]
    assert Player(engine).play(steps) == ("succeeded", {"why": "enough"})
