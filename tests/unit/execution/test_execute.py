"""What surrounds a handler: names, conditions, schemas, heartbeats, usage, secrets."""

import asyncio
import base64
from typing import Any

import pytest
from support.attempts import claim, error, output, run, step
from support.logging import configured_logging

from workflow_engine.definition.step_plan import Timeouts
from workflow_engine.errors import TaskError
from workflow_engine.execution.offers import offers
from workflow_engine.handlers.base import Handler, Outcome
from workflow_engine.handlers.registry import Registry
from workflow_engine.observability.logs import KEEPER, get_logger
from workflow_engine.secrets import Secrets
from workflow_engine.worker.task_log import TaskLog


async def echo(inputs: dict[str, Any], ctx: Any) -> Any:
    return inputs


async def test_a_condition_is_asked_at_the_beginning_only() -> None:
    conditional = step("wait", when="input.go", inputs={"duration": 5})
    assert (await run(conditional, claim(input={"go": False}))).outcome == "skipped"
    begun = await run(conditional, claim(input={"go": True}))
    told = {"awaits": dict(begun.awaits), "due": True}
    assert (await run(conditional, claim(input={"go": False}, resumed=told))).outcome == "succeeded"


async def test_an_output_that_does_not_fit_its_schema_is_tried_again() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    strict = step(output_schema=schema, inputs={"n": "${ input.n }"})
    assert output(await run(strict, claim(input={"n": 1}), echo)) == {"n": 1}
    ended = await run(strict, claim(input={"n": "one"}), echo)
    assert ended.outcome == "retried"
    assert error(ended)["type"] == "output_invalid"
    assert error(ended)["details"]["errors"][0]["pointer"] == "/n"
    shaped = step(output_schema=schema, output={"n": "${ result.m }"}, inputs={"m": 2})
    assert output(await run(shaped, claim(), echo)) == {"n": 2}


async def test_a_handler_that_falls_silent_is_stopped() -> None:
    async def silent(inputs: dict[str, Any], ctx: Any) -> Any:
        ctx.heartbeat()
        await asyncio.sleep(30)

    ended = await run(step(timeouts=Timeouts(heartbeat=0.05)), claim(), silent)
    assert ended.outcome == "retried"
    assert error(ended)["type"] == "timeout"
    assert error(ended)["details"] == {"kind": "heartbeat", "timeout": 0.05}
    assert error(ended)["message"].startswith("Task exceeded maximum runtime between two heartbeats")


async def test_a_handler_that_reports_goes_on() -> None:
    async def working(inputs: dict[str, Any], ctx: Any) -> Any:
        for _ in range(20):
            await asyncio.to_thread(ctx.heartbeat)  # from any thread
            await asyncio.sleep(0.01)
        return "done"

    assert output(await run(step(timeouts=Timeouts(heartbeat=0.15)), claim(), working)) == "done"


async def test_a_heartbeat_does_not_extend_the_attempts_time() -> None:
    async def working(inputs: dict[str, Any], ctx: Any) -> Any:
        while True:
            ctx.heartbeat()
            await asyncio.sleep(0.01)

    ended = await run(step(timeout=0.1, timeouts=Timeouts(heartbeat=5)), claim(), working)
    assert error(ended)["details"] == {"kind": "start_to_close", "timeout": 0.1}


async def test_what_was_used_up_is_told_however_the_attempt_ends() -> None:
    async def spends(inputs: dict[str, Any], ctx: Any) -> Any:
        ctx.usage.add(input_tokens=10, output_tokens=None, cost_usd=0.5)
        ctx.usage.add(input_tokens=5)
        if inputs["fail"]:
            raise TaskError("user.broken", "Broken")

    for fail, outcome in ((False, "succeeded"), (True, "retried")):
        ended = await run(step(inputs={"fail": fail}), claim(), spends)
        assert (ended.outcome, ended.effects) == (outcome, {"usage": {"input_tokens": 15, "cost_usd": 0.5}})


async def test_nothing_used_is_nothing_told() -> None:
    assert (await run(step(inputs={}), claim(), echo)).effects is None


SECRETS = Secrets({"WORKFLOW_SECRET_TOKEN": "s3cr3t/t0ken", "WORKFLOW_SECRET_PIN": "12"})


async def test_a_step_in_a_scope_sees_its_variables_and_has_its_path() -> None:
    async def where(inputs: dict[str, Any], ctx: Any) -> Any:
        return {**inputs, "path": ctx.path, "key": ctx.idempotency_key}

    inside = claim(path="process[3].fetch", variables={"item": {"x": 1}, "index": 3}, workflow_status="failed")
    found = output(await run(step(inputs={"of": "${ item.x + index }", "w": "${ workflow.status }"}), inside, where))
    assert found == {
        "of": 4,
        "w": "failed",
        "path": "process[3].fetch",
        "key": f"{inside.workflow_id}/process[3].fetch",
    }


async def test_a_secret_is_read_at_use_and_taken_out_of_errors() -> None:
    seen = []

    async def leaks(inputs: dict[str, Any], ctx: Any) -> Any:
        seen.append(inputs)
        raise TaskError(
            "http.401", f"Refused {inputs['auth']}", details={"url": "?t=s3cr3t%2Ft0ken", "s3cr3t/t0ken": [inputs]}
        )

    reads = step(inputs={"auth": "Bearer ${ secrets.TOKEN }", "pin": "${ secrets['PIN'] + '!' }"})
    found = error(await run(reads, claim(), leaks, secrets=SECRETS))
    assert seen == [{"auth": "Bearer s3cr3t/t0ken", "pin": "12!"}]
    assert found["message"] == "Refused Bearer ***"
    assert found["details"] == {"url": "?t=***", "***": [{"auth": "Bearer ***", "pin": "12!"}]}


async def test_a_secret_that_is_not_there_fails_for_good() -> None:
    ended = await run(step(inputs={"auth": "${ secrets.OTHER }"}), claim(), echo, secrets=SECRETS)
    assert ended.outcome == "failed"
    assert "There is no secret OTHER" in error(ended)["message"]


async def test_what_a_handler_logs_has_no_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    kept = TaskLog()

    async def talks(inputs: dict[str, Any], ctx: Any) -> Any:
        ctx.log.info(f"sent {inputs['auth']}", headers={"a": [inputs["auth"]]}, error=ValueError(inputs["auth"]), n=1)

    with configured_logging("worker"):
        log = get_logger("test").bind(**{KEEPER: kept})
        await run(step(inputs={"auth": "${ secrets.TOKEN }"}), claim(), talks, secrets=SECRETS, log=log)
    lines = kept.lines()
    assert lines is not None
    assert lines[0]["message"] == "sent ***"
    assert lines[0]["fields"] == {"headers": "{'a': ['***']}", "error": "***", "n": 1}
    shown = capsys.readouterr().out
    assert "***" in shown
    assert "s3cr3t" not in shown


@pytest.mark.parametrize("record", [{"a": {1}}, {"a": float("nan")}, "\x00", "x" * 5000])
async def test_a_record_that_cannot_be_stored_is_the_failure_of_its_task(record: Any) -> None:
    async def stores(inputs: dict[str, Any], ctx: Any) -> Any:
        return Outcome(1, record=record)

    ended = await run(step(), claim(), stores, payload_bytes=2000)
    assert ended.outcome == "failed"
    assert error(ended)["message"].startswith("The record")


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -1, 1e300])
async def test_usage_that_is_no_number_is_an_error_of_its_handler(amount: float) -> None:
    async def uses(inputs: dict[str, Any], ctx: Any) -> Any:
        ctx.usage.add(cost_usd=amount)

    assert error(await run(step(), claim(), uses))["type"] == "user.ValueError"


async def test_a_secret_that_comes_back_is_not_stored() -> None:
    encoded = base64.b64encode(b"me:s3cr3t/t0ken").decode()

    async def repeats(inputs: dict[str, Any], ctx: Any) -> Any:
        return Outcome({"said": inputs, "basic": encoded, "n": 1}, record=[inputs["auth"]])

    reads = step(inputs={"auth": "Bearer ${ secrets.TOKEN }", "pin": "${ secrets.PIN }"}, output="${ result }")
    ended = await run(reads, claim(), repeats, secrets=SECRETS)
    stored = output(ended)
    assert stored["said"] == {"auth": "Bearer ***", "pin": "12"}
    assert stored["n"] == 1
    assert stored["basic"] != encoded
    assert "***" in stored["basic"]
    assert ended.record == ["Bearer ***"]


async def test_a_handler_conceals_what_it_fetched_itself(capsys: pytest.CaptureFixture[str]) -> None:
    kept = TaskLog()

    async def fetches(inputs: dict[str, Any], ctx: Any) -> Any:
        token = "fetched-from-a-vault"
        ctx.conceal(token)
        ctx.log.info("fetched", got=token)
        if inputs["fails"]:
            raise ValueError(f"refused {token}")
        assert ctx.redact([token]) == ["***"]
        return {"echo": token}

    with configured_logging("worker"):
        log = get_logger("test").bind(**{KEEPER: kept})
        assert output(await run(step(inputs={"fails": False}), claim(), fetches, log=log)) == {"echo": "***"}
        assert error(await run(step(inputs={"fails": True}), claim(), fetches, log=log))["message"] == "refused ***"
    assert [line["fields"] for line in kept.lines() or []] == [{"got": "***"}] * 2
    assert "vault" not in capsys.readouterr().out


@pytest.mark.parametrize("place", ["output", "when"])
async def test_secrets_are_for_inputs_only(place: str) -> None:
    fields = {place: "${ secrets.TOKEN }" if place == "output" else "secrets.TOKEN == ''"}
    assert error(await run(step(**fields), claim(), echo, secrets=SECRETS))["type"] == "expression"


async def test_the_answer_of_a_step_is_judged_by_its_success_when() -> None:
    async def http(inputs: dict[str, Any], ctx: Any) -> Any:
        result = {"status": 200, "body": {"ok": inputs["ok"]}}
        return result if ctx.accepts(result) else None

    judged = step(success_when="result.body.ok && input.x == 1", inputs={"ok": "${ input.ok }"})
    assert output(await run(judged, claim(input={"ok": True, "x": 1}), http))["status"] == 200
    assert output(await run(judged, claim(input={"ok": False, "x": 1}), http)) is None
    assert error(await run(judged, claim(input={"ok": 1}), http))["type"] == "expression"


def test_a_worker_offers_its_handlers_and_what_the_engine_does_itself() -> None:
    handlers = Registry({"work": Handler("work", echo, timeout=5, max_attempts=2)})
    names = [offer["name"] for offer in offers(handlers)]
    assert names == sorted(names)
    assert {"work", "for_each", "loop", "block", "switch", "wait", "signal", "approval", "workflow", "emit"} <= {*names}
    assert all(offer["description"] for offer in offers(handlers) if offer["name"] != "work")
