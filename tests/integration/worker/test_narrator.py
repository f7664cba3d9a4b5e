"""The engine's log tells what happens to workflows, though workers do the work."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.eventually import eventually_async
from support.logging import configured_logging

from workflow_engine.handlers.base import TaskContext
from workflow_engine.maintenance.concerns import Concerns
from workflow_engine.maintenance.counting import Counting
from workflow_engine.maintenance.narrator import Narrator
from workflow_engine.maintenance.webhooks import Webhooks
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store

from .conftest import Engine, StartWorker

WORKFLOW = "0198f3a2-7c1e-7000-8000-000000000001"
INSERT = "insert into workflow.events (workflow_id, type, at) values (%s, %s, clock_timestamp())"


@pytest.fixture
async def logs(tmp_path: Path) -> AsyncIterator[Path]:
    """Where an engine's log files are."""
    with configured_logging(LOG_DIR=str(tmp_path)):
        yield tmp_path


@pytest.fixture
def narrator(settings: Settings, store: Store) -> Narrator:
    return Narrator(settings, store)


def narrated(logs: Path) -> list[str]:
    return [line for line in (logs / "app.log").read_text().splitlines() if " module=narrator " in line]


def told(logs: Path, workflow: str = WORKFLOW) -> list[str]:
    """The narrator's messages about a workflow."""
    lines = [line for line in narrated(logs) if f"workflow_id={workflow}" in line]
    return [quoted or plain for line in lines for quoted, plain in re.findall(r' msg=(?:"([^"]*)"|(\S+))', line)]


async def hang(inputs: dict[str, Any], ctx: TaskContext) -> None:
    await asyncio.Event().wait()


async def test_a_timed_out_workflow_is_told_with_the_runbooks_phrase_and_all_that_names_it(
    logs: Path, narrator: Narrator, engine: Engine, start_worker: StartWorker
) -> None:
    document = {"name": "slow", "steps": [{"id": "a", "type": "hang", "timeout": "50ms", "retries": 0}]}
    async with start_worker({"hang": hang}) as worker:
        workflow = await engine.ended(await engine.start(document))
    await narrator.sweep_once()

    timeout = "Task exceeded maximum runtime of 0.05 seconds"
    assert told(logs, str(workflow.id)) == ["workflow created", "workflow started", timeout, "workflow failed"]
    line = narrated(logs)[2]
    for field in ("level=warning", "role=engine", "step=a", "type=hang", "attempt=1", "error_type=timeout",
                  "timeout=0.05", f"worker={worker.name}", "outcome=failed", "task_id="):  # fmt: skip
        assert f" {field}" in line
    assert re.search(r" at=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z ", line)
    (line,) = [line for line in (logs / "tasks.log").read_text().splitlines() if timeout in line]
    assert " module=narrator " not in line, "its worker has told it there"


async def test_an_attempt_that_no_worker_can_speak_of_is_told_in_tasks_log_too(
    logs: Path, narrator: Narrator, engine: Engine, start_worker: StartWorker
) -> None:
    async with start_worker({"hang": hang}):
        workflow = await engine.start({"name": "cancelled", "steps": [{"id": "a", "type": "hang"}]})

        async def runs() -> bool:
            return (await engine.store.workflows.tasks(workflow))[0].status == "running"

        await eventually_async(runs)
        await engine.store.control.cancel(workflow, reason="not needed")
        await narrator.sweep_once()
    assert "task cancelled" in told(logs, workflow)
    line = next(line for line in (logs / "tasks.log").read_text().splitlines() if "task cancelled" in line)
    for field in ("workflow_id=" + workflow, "step=a", "type=hang", "attempt=1", "outcome=cancelled", "worker="):
        assert field in line


async def test_each_event_is_told_once_also_one_that_commits_behind_others(
    logs: Path, narrator: Narrator, settings: Settings
) -> None:
    await narrator.sweep_once()
    with (
        psycopg.connect(settings.database_url) as late,
        psycopg.connect(settings.database_url, autocommit=True) as other,
    ):
        late.execute(INSERT, [WORKFLOW, "workflow.late"])
        other.execute(INSERT, [WORKFLOW, "workflow.early"])
        await narrator.sweep_once()
        assert told(logs) == ["workflow early"]
        other.execute(INSERT, [WORKFLOW, "workflow.next"])
        await narrator.sweep_once()
        late.commit()
        await narrator.sweep_once()
    assert told(logs) == ["workflow early", "workflow next", "workflow late"]
    await narrator.sweep_once()
    await narrator.sweep_once()
    assert len(told(logs)) == 3
    assert narrator._tail.taken == set(), "no transaction of their time is left, so nothing needs to be remembered"


async def test_a_new_leader_begins_near_the_end(
    logs: Path, settings: Settings, store: Store, narrator: Narrator
) -> None:
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        old = INSERT.replace("clock_timestamp()", "clock_timestamp() - interval '1 minute'")
        connection.execute(old, [WORKFLOW, "workflow.old"])
        connection.execute(INSERT, [WORKFLOW, "workflow.recent"])
        await Narrator(settings, store).sweep_once()
    assert told(logs) == ["workflow recent"]


async def test_it_is_asked_for_as_long_as_something_may_be_untold(
    narrator: Narrator, store: Store, settings: Settings
) -> None:
    async def is_asked_for() -> bool:
        concerned, _ = await store.maintenance.concerns(narrator.seen)
        return narrator.name in concerned

    assert await is_asked_for(), "it has told nothing yet"
    with (
        psycopg.connect(settings.database_url) as late,
        psycopg.connect(settings.database_url, autocommit=True) as other,
    ):
        late.execute(INSERT, [WORKFLOW, "workflow.late"])
        other.execute(INSERT, [WORKFLOW, "workflow.early"])
        await narrator.sweep_once()
        assert await is_asked_for(), "a transaction of its time is left"
        late.commit()
        await narrator.sweep_once()
        assert not await is_asked_for()
        other.execute(INSERT, [WORKFLOW, "workflow.next"])
        assert await is_asked_for()


async def test_a_flood_is_bounded_and_failures_are_told_first(
    logs: Path, narrator: Narrator, settings: Settings
) -> None:
    await narrator.sweep_once()
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(
            "insert into workflow.events (workflow_id, type, at) select %s, 'workflow.created', clock_timestamp()"
            " from generate_series(1, 1000)",
            [WORKFLOW],
        )
        connection.execute(
            "insert into workflow.events (workflow_id, type, at, data) values (%s, 'workflow.failed',"
            """ clock_timestamp(), '{"error": {"type": "http.503", "message": "busy"}}')""",
            [WORKFLOW],
        )
    await narrator.sweep_once()
    await narrator.sweep_once()
    messages = told(logs)
    assert messages.count("workflow created") == 200
    assert messages.count("workflow failed") == 1
    assert re.search(r'msg="events left out of the log" .*count=800', (logs / "app.log").read_text())


async def test_what_was_told_before_the_turn_of_who_counts_is_counted_all_the_same(
    narrator: Narrator, settings: Settings, store: Store, engine: Engine
) -> None:
    counting = Counting(settings, store)
    concerns = Concerns(store, [narrator, counting], Webhooks(settings, store))

    async def idle() -> bool:
        await narrator.sweep_once()
        await counting.sweep_once()
        return not {"narrator", "counting"} & await concerns.look()

    await eventually_async(idle)
    await engine.start({"name": "told", "steps": [{"id": "a", "type": "noop"}]})
    assert {"narrator", "counting"} <= await concerns.look()

    async def is_told() -> bool:
        await narrator.sweep_once()
        return "narrator" not in await concerns.look()

    await eventually_async(is_told)
    assert "counting" in await concerns.look()
    await eventually_async(idle)
