"""Test mode on a real Postgres: what a trial does, says, and leaves behind (nothing)."""

from datetime import UTC, datetime

import psycopg
import pytest

from workflow_engine.testing.compiling import compile_anything
from workflow_engine.testing.given import GivenOutputs
from workflow_engine.testing.trial import Bounds, Trial, run_trial

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def play(database_url):
    """Plays steps: `await play([...], outputs={...}, input={...})`."""

    async def play(steps, *, outputs=None, bounds=None, input=None, **fields):
        definition = compile_anything({"name": "flow", "steps": steps, **fields})
        trial = Trial(definition, input=input or {}, outputs=GivenOutputs(outputs or {}), now=NOON)
        return await run_trial(database_url, trial, bounds)

    return play


async def test_given_outputs_take_the_place_of_handlers_and_expressions_are_real(play):
    result = await play(
        [
            {"id": "fetch", "type": "http", "url": "https://example.com/${ input.id }"},
            {"id": "total", "type": "transform", "expression": "sum(steps.fetch.output.body.amounts)"},
        ],
        outputs={"fetch": {"status": 200, "body": {"amounts": [1, 2]}}},
        input={"id": "7"},
    )
    assert (result.status, result.stopped, result.error) == ("succeeded", None, None)
    assert result.output == {"total": 3}
    assert result.statuses == {"fetch": "succeeded", "total": "succeeded"}


async def test_time_passes_only_where_something_takes_it(play):
    result = await play(
        [
            {
                "id": "fetch",
                "type": "http",
                "url": "https://example.com",
                "retries": {"max_attempts": 3, "initial_delay": "10s", "jitter": "none"},
            },
        ],
        outputs={"fetch": [{"error": "http.503"}, {"error": {"type": "http.503"}}, {"output": 1, "takes": "2s"}]},
    )
    assert result.status == "succeeded"
    assert result.duration == 10 + 20 + 2
    assert result.started_at == NOON
    assert [event.type for event in result.events if event.path == "fetch"] == [
        "task.started",
        "task.retried",
        "task.started",
        "task.retried",
        "task.started",
        "task.succeeded",
    ]


async def test_nothing_of_a_trial_stays_in_the_database(play, database_url):
    await play([{"id": "a", "type": "noop"}])
    with psycopg.connect(database_url) as connection:
        for table in ("workflows", "tasks", "definitions", "workers", "events"):
            assert connection.execute(f"select count(*) from workflow.{table}").fetchone() == (0,), table


async def test_a_rate_spreads_tasks_in_virtual_time(play):
    steps = [
        {
            "id": "call",
            "type": "model",
            "for_each": {"items": 6},
            "limits": [{"key": "api", "concurrency": 9, "rate": "2/m"}],
        }
    ]
    result = await play(steps, outputs={"call": 1})
    assert result.status == "succeeded"
    assert 120 <= result.duration < 180


async def test_all_deadlines_pass_in_virtual_time(play):
    slow = {"id": "slow", "type": "mine", "retries": {"max_attempts": 9, "initial_delay": "1m"}}
    outputs = {"slow": {"error": "timeout", "takes": "50s"}}
    result = await play([{**slow, "timeouts": {"schedule_to_close": "2m"}}], outputs=outputs)
    assert (result.error["details"]["kind"], result.duration) == ("schedule_to_close", 120)
    result = await play([slow], outputs=outputs, timeout="5m")
    assert (result.error["details"]["kind"], result.duration) == ("workflow", 300)
    held = [
        {"id": "first", "type": "mine", "locks": ["door"]},
        {"id": "second", "type": "mine", "locks": ["door"], "timeouts": {"schedule_to_start": "10s"}},
    ]
    result = await play(held, outputs={"first": {"output": 1, "takes": "20s"}, "second": 1})
    assert (result.error["details"]["kind"], result.duration) == ("schedule_to_start", 10)


async def test_a_trial_keeps_out_of_the_way_of_real_workflows_with_the_same_locks(play, database_url):
    with psycopg.connect(database_url) as real:
        real.execute("insert into workflow.resources (kind, key) values ('lock', 'ledger')")
        real.commit()
        real.execute("select 1 from workflow.resources where key = 'ledger' for update")
        result = await play([{"id": "a", "type": "noop", "locks": ["ledger"]}])
    assert result.status == "succeeded"


async def test_a_trial_without_end_is_stopped_and_says_why(play):
    endless = [{"id": "a", "type": "noop", "loop": {"until": "false", "max_iterations": 1000}}]
    assert (await play(endless, bounds=Bounds(attempts=20))).stopped == "steps"
    assert (await play(endless, bounds=Bounds(seconds=0.5))).stopped == "time"


async def test_a_workflow_that_waits_for_what_was_not_given_says_for_what(play):
    steps = [
        {"id": "ask", "type": "approval", "inputs": {"prompt": "May I?"}},
        {"id": "hear", "type": "signal", "inputs": {"name": "go"}},
    ]
    result = await play(steps)
    assert (result.status, result.stopped) == ("running", "waiting")
    assert [(wait["path"], wait["for"]) for wait in result.waits_for] == [("ask", "approval"), ("hear", "signal")]


async def test_secrets_and_connections_need_not_be_there(play):
    steps = [
        {"id": "call", "type": "http", "url": "https://example.com", "auth": {"bearer": "${ secrets.NOWHERE }"}},
        {"id": "read", "type": "database", "connection": "nowhere", "statement": "select 1"},
    ]
    result = await play(steps, outputs={"call": {"status": 200}, "read": {"rows": []}})
    assert result.status == "succeeded"


async def test_what_postgres_refuses_fails_the_task_alone(play):
    steps = [{"id": name, "type": "mine", "on_error": "continue"} for name in ("nul", "fine", "large")]
    result = await play(
        steps, outputs={"nul": "nul \u0000", "fine": 1, "large": {"error": {"type": "x", "details": {"n": "\u0000"}}}}
    )
    assert result.statuses == {"nul": "failed", "fine": "succeeded", "large": "failed"}
    assert result.task("nul").error["type"] == "serialization_error"
    assert result.status == "succeeded"


@pytest.mark.parametrize(("status", "error"), [(200, None), (404, "http.404"), (503, "http.503")])
async def test_a_given_answer_of_http_fails_as_the_real_one_would(play, status, error):
    result = await play(
        [{"id": "a", "type": "http", "url": "https://example.com", "retries": 0}], outputs={"a": {"status": status}}
    )
    assert (result.error or {}).get("type") == error


async def test_the_usage_of_a_model_counts_into_the_budget(play):
    steps = [
        {"id": "ask", "type": "llm_inference", "prompt": "?"},
        {"id": "more", "type": "noop", "depends_on": ["ask"]},
    ]
    outputs = {"ask": {"text": "!", "usage": {"input_tokens": 60, "output_tokens": 50}}}
    result = await play(steps, outputs=outputs, budget={"tokens": {"hard": 100}, "on_exceeded": "fail"})
    assert result.error["type"] == "budget"
    result = await play(steps, outputs=outputs, budget={"tokens": {"hard": 100}, "on_exceeded": "pause"})
    assert (result.stopped, result.waits_for) == ("waiting", [{"path": None, "for": "resume"}])


async def test_an_output_may_be_given_in_place_of_what_the_engine_does_itself(play):
    steps = [
        {"id": "part", "type": "block", "steps": [{"id": "inner", "type": "mine"}]},
        {"id": "later", "type": "wait", "inputs": {"duration": "1d"}},
    ]
    result = await play(steps, outputs={"part": 7, "later": None})
    assert (result.output, result.duration) == ({"part": 7, "later": None}, 0)
