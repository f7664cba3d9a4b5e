"""Test mode on a real Postgres: what a trial does, says, and leaves behind (nothing)."""

from datetime import UTC, datetime

import psycopg
import pytest

from workflow_engine.definition.compile import compile_definition
from workflow_engine.testing.given import GivenOutputs
from workflow_engine.testing.trial import Trial, run_trial

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def play(database_url):
    """Plays steps: `await play([...], outputs={...}, input={...})`."""

    async def play(steps, *, outputs=None, types=(), bounds=None, input=None, **fields):
        definition = compile_definition({"name": "flow", "steps": steps, **fields}, task_types=types)
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
