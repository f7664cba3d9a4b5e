"""`wait`, `signal`, `approval` and `workflow` on the worker: what they wait for, and what comes of it."""

from typing import Any

import pytest
from support.attempts import claim, error, output, resumed, run, step

from workflow_engine.definition.plan import CompiledDefinition, Plan

# wait -----------------------------------------------------------------------------------------------------------------


async def test_a_wait_ends_when_its_time_has_come() -> None:
    short = step("wait", inputs={"duration": "${ input.for }"})
    begun = await run(short, claim(input={"for": "1m30s"}))
    assert (begun.awaits["kind"], begun.awaits["delay"]) == ("timer", 90.0)
    assert output(await run(short, resumed(begun, due=True))) is None


async def test_a_wait_until_a_time_knows_its_zone() -> None:
    until = step("wait", inputs={"until": "2026-01-31T12:00:00+01:00"})
    begun = await run(until, claim())
    assert begun.awaits["at"] == "2026-01-31T12:00:00+01:00"
    early = resumed(begun)
    early.resumed["awaits"]["until"] = "2026-01-31T11:00:00Z"
    assert (await run(until, early)).awaits["at"] == "2026-01-31T11:00:00Z"


async def test_no_time_to_wait_is_no_wait() -> None:
    assert output(await run(step("wait", inputs={"duration": 0}), claim())) is None


@pytest.mark.parametrize("inputs", [{}, {"duration": "soon"}, {"until": "2026-01-31T12:00:00"}, {"until": "noon"}])
async def test_what_is_no_time_fails(inputs: dict[str, Any]) -> None:
    assert error(await run(step("wait", inputs=inputs), claim()))["type"] == "validation"


# signal ---------------------------------------------------------------------------------------------------------------


def event(seq: int, payload: Any = None, *, taken: bool = True) -> dict[str, Any]:
    return {"seq": seq, "name": "paid", "payload": payload, "at": "2026-01-31T12:00:00Z", "by": "x", "taken": taken}


def shown(seq: int, payload: Any = None) -> dict[str, Any]:
    return {name: event(seq, payload)[name] for name in ("seq", "name", "payload", "at", "by")}


async def test_the_output_of_a_signal_is_the_event() -> None:
    one = step("signal", inputs={"name": "paid"})
    begun = await run(one, claim())
    assert begun.awaits == {"kind": "signal", "name": "paid", "count": 1, "state": {"began": 0.0}}
    ended = await run(one, resumed(begun, events=[event(5, {"sum": 3})]))
    assert output(ended) == shown(5, {"sum": 3})
    assert ended.effects == {"taken": [5]}


async def test_several_signals_are_a_list() -> None:
    two = step("signal", inputs={"name": "paid", "count": 2})
    begun = await run(two, claim())
    waits = await run(two, resumed(begun, events=[event(5, 1)]))
    assert waits.outcome == "waiting"
    ended = await run(two, resumed(waits, events=[event(5, 1), event(7, 2)]))
    assert output(ended) == [shown(5, 1), shown(7, 2)]


async def test_only_signals_that_match_are_taken() -> None:
    matching = step("signal", inputs={"name": "paid"}, match="event.payload.order == input.order")
    first = claim(input={"order": 2})
    begun = await run(matching, first)
    assert begun.awaits["matches"] is True
    events = [event(5, {"order": 1}, taken=False), event(6, "broken", taken=False)]
    passed = await run(matching, _with_input(resumed(begun, events=events), {"order": 2}))
    assert passed.outcome == "waiting"
    assert passed.effects is None
    assert passed.awaits["after"] == 6
    events = [event(7, {"order": 2}, taken=False), event(8, {"order": 2}, taken=False)]
    ended = await run(matching, _with_input(resumed(passed, events=events), {"order": 2}))
    assert output(ended)["payload"] == {"order": 2}
    assert ended.effects == {"taken": [7]}


async def test_matching_signals_are_kept_until_there_are_enough() -> None:
    matching = step("signal", inputs={"name": "paid", "count": 2}, match="event.payload > 1")
    begun = await run(matching, claim())
    waits = await run(matching, resumed(begun, events=[event(5, 2, taken=False), event(6, 1, taken=False)]))
    assert waits.effects == {"taken": [5]}
    ended = await run(matching, resumed(waits, events=[event(5, 2), event(7, 3, taken=False)]))
    assert output(ended) == [shown(5, 2), shown(7, 3)]
    assert ended.effects == {"taken": [5, 7]}


async def test_no_wait_is_given_up_while_there_are_signals_to_look_at() -> None:
    matching = step("signal", inputs={"name": "paid", "timeout": "1h"}, match="event.payload > 1")
    begun = await run(matching, claim())
    waits = await run(matching, resumed(begun, due=True, elapsed=3600.0, events=[event(5, 1, taken=False)]))
    assert (waits.outcome, waits.awaits["after"], waits.awaits["deadline"]) == ("waiting", 5, 0.0)
    ended = await run(matching, resumed(waits, due=True, elapsed=3600.0, events=[]))
    assert error(ended)["type"] == "timeout"
    assert ended.effects == {"expired": True, "after": 5}


@pytest.mark.parametrize(("count", "expected"), [(1, None), (2, [shown(5, 1)])])
async def test_a_signal_that_does_not_come_fails_or_goes_on(count: int, expected: Any) -> None:
    inputs = {"name": "paid", "count": count, "timeout": "1h"}
    events = [event(5, 1)] if count == 2 else []
    strict = step("signal", inputs=inputs)
    begun = await run(strict, claim())
    assert begun.awaits["deadline"] == 3600.0
    ended = await run(strict, resumed(begun, due=True, elapsed=3600.0, events=events))
    assert error(ended)["type"] == "timeout"
    assert ended.effects["expired"] is True
    lenient = step("signal", inputs={**inputs, "on_timeout": "continue"})
    ended = await run(lenient, resumed(await run(lenient, claim()), due=True, elapsed=3600.0, events=events))
    assert output(ended) == expected
    assert ended.effects["expired"] is True


async def test_a_signal_at_the_last_moment_counts() -> None:
    one = step("signal", inputs={"name": "paid", "timeout": "1h"})
    assert output(await run(one, resumed(await run(one, claim()), due=True, events=[event(5)]))) == shown(5)


async def test_the_common_timeout_of_a_signal_always_fails_it() -> None:
    both = step("signal", inputs={"name": "paid", "timeout": "1h", "on_timeout": "continue"}, timeout=60.0)
    begun = await run(both, claim())
    assert begun.awaits["deadline"] == 60.0
    assert error(await run(both, resumed(begun, due=True, events=[])))["details"]["timeout"] == 60.0


# approval -------------------------------------------------------------------------------------------------------------


async def test_an_approval_gives_its_answer() -> None:
    ask = step("approval", inputs={"prompt": "Ship ${ input.what }?", "assignees": ["ann"]})
    begun = await run(ask, claim(input={"what": "it"}))
    assert {name: begun.awaits[name] for name in ("kind", "prompt", "assignees", "outcomes")} == {
        "kind": "approval", "prompt": "Ship it?", "assignees": ["ann"], "outcomes": ["approved", "rejected"],
    }  # fmt: skip
    answer = {"outcome": "rejected", "data": {"why": "no"}, "by": "ann", "at": "2026-01-31T12:00:00Z"}
    ended = await run(ask, _with_input(resumed(begun, answer=answer), {"what": "it"}))
    assert output(ended) == answer


async def test_an_approval_that_nobody_gives_goes_on_if_it_is_to() -> None:
    inputs = {"outcomes": ["yes", "no"], "timeout": "1d", "on_timeout": "continue"}
    ask = step("approval", inputs=inputs)
    ended = await run(ask, resumed(await run(ask, claim()), due=True))
    assert output(ended) == {"outcome": "timeout", "data": None, "by": None, "at": "2026-01-31T13:00:00Z"}
    assert ended.effects == {"expired": True}


async def test_an_approval_that_nobody_gives_fails_otherwise() -> None:
    ask = step("approval", inputs={"timeout": "1d"})
    ended = await run(ask, resumed(await run(ask, claim()), due=True))
    assert error(ended)["type"] == "timeout"
    assert ended.effects == {"expired": True}


# workflow -------------------------------------------------------------------------------------------------------------

CHILD = "0198f3a2-7c1e-7000-8000-000000000002"


async def test_the_output_of_a_child_is_the_output() -> None:
    parent = step("workflow", inputs={"name": "child", "version": 3, "input": {"x": "${ input.x }"}})
    begun = await run(parent, claim(input={"x": 1}))
    state = begun.awaits.pop("state")
    assert begun.awaits == {
        "kind": "child", "name": "child", "version": 3, "input": {"x": 1}, "wait": True, "on_parent_cancel": "cancel",
    }  # fmt: skip
    begun.awaits["state"] = state
    ended = await run(parent, resumed(begun, workflow={"id": CHILD, "status": "succeeded", "output": {"y": 2}}))
    assert output(ended) == {"y": 2}


async def test_a_failed_child_gives_its_error() -> None:
    parent = step("workflow", inputs={"name": "child"})
    begun = await run(parent, claim())
    broken = {"type": "http.404", "message": "No.", "retryable": False, "attempt": 1, "details": {}, "step": "fetch"}
    ended = await run(parent, resumed(begun, workflow={"id": CHILD, "status": "failed", "error": broken}))
    assert error(ended) == broken


async def test_a_cancelled_child_fails_its_parents_step() -> None:
    parent = step("workflow", inputs={"name": "child"})
    ended = await run(parent, resumed(await run(parent, claim()), workflow={"id": CHILD, "status": "cancelled"}))
    assert error(ended)["type"] == "cancelled"


async def test_a_child_that_is_not_waited_for_gives_its_id() -> None:
    parent = step("workflow", inputs={"name": "child", "wait": False})
    begun = await run(parent, claim())
    ended = await run(parent, resumed(begun, workflow={"id": CHILD, "status": "pending"}))
    assert output(ended) == {"workflow_id": CHILD}
    refused = {"type": "child_workflow", "message": "No such.", "retryable": False, "attempt": 0, "details": {}}
    ended = await run(parent, resumed(begun, workflow={"status": "failed", "error": refused}))
    assert error(ended)["type"] == "child_workflow"


async def test_a_child_that_takes_too_long_fails_its_parents_step() -> None:
    parent = step("workflow", inputs={"name": "child"}, timeout=5.0)
    begun = await run(parent, claim())
    running = {"id": CHILD, "status": "running"}
    assert error(await run(parent, resumed(begun, due=True, workflow=running)))["type"] == "timeout"
    woken = resumed(begun, workflow=running)
    woken.resumed["awaits"]["workflow_id"] = CHILD
    assert (await run(parent, woken)).awaits["workflow_id"] == CHILD


class Known:
    """Definitions: one that may be registered, and the schema of all."""

    def __init__(self, definition: CompiledDefinition | None, schema: dict[str, Any] | None = None) -> None:
        self._definition, self._schema = definition, schema

    async def register(self, given: CompiledDefinition) -> int:
        assert given is self._definition
        return 4

    async def input_schema(self, name: str, version: int | None) -> dict[str, Any] | None:
        return self._schema


async def test_a_definition_in_place_is_registered_and_started_at_its_version() -> None:
    definition = CompiledDefinition("inner", {}, "hash", Plan("inner", {}, True, 0, {}, None, ()))

    begun = await run(
        step("workflow", inputs={"input": 1}, definition=definition), claim(), definitions=Known(definition)
    )
    assert (begun.awaits["name"], begun.awaits["version"]) == ("inner", 4)


async def test_the_input_of_a_child_must_fit_its_schema() -> None:
    known = Known(None, {"type": "object", "required": ["day"]})
    fits = await run(step("workflow", inputs={"name": "child", "input": {"day": 1}}), claim(), definitions=known)
    assert fits.awaits["name"] == "child"
    told = error(await run(step("workflow", inputs={"name": "child"}), claim(), definitions=known))
    assert (told["type"], told["retryable"], told["details"]["kind"]) == ("child_workflow", False, "invalid_input")
    assert told["details"]["errors"] == [{"pointer": "/input", "message": "'day' is a required property"}]


# emit and terminate ---------------------------------------------------------------------------------------------------


async def test_emit_leaves_word_with_its_completion() -> None:
    sent = await run(step("emit", inputs={"name": "done", "payload": {"x": "${ input.x }"}}), claim(input={"x": 1}))
    assert output(sent) is None
    assert sent.effects == {"emit": {"name": "done", "payload": {"x": 1}, "to": "signal"}}
    hook = {"name": "done", "to": "webhook", "url": "https://example.com/x"}
    assert (await run(step("emit", inputs=hook), claim())).effects == {"emit": hook}


@pytest.mark.parametrize(
    "inputs",
    [{}, {"name": "x", "to": "webhook"}, {"name": "x", "url": "https://example.com"}, {"name": "x", "to": "mail"}],
)
async def test_what_cannot_be_emitted_fails(inputs: dict[str, Any]) -> None:
    assert error(await run(step("emit", inputs=inputs), claim()))["type"] == "validation"


async def test_terminate_says_how_the_workflow_ends() -> None:
    inputs = {"status": "failed", "reason": "No stock", "output": {"left": 0}}
    ended = await run(step("terminate", inputs=inputs), claim())
    assert ended.effects == {"terminate": inputs}
    assert (await run(step("terminate"), claim())).effects == {"terminate": {"status": "succeeded"}}


def _with_input(resumed_claim: Any, input: Any) -> Any:
    fields = {name: getattr(resumed_claim, name) for name in resumed_claim.__dataclass_fields__}
    return claim(**{**fields, "input": input})
