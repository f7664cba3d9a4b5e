"""The engine that leads looks whether what must hold of the data does."""

from pathlib import Path

import psycopg
from support.logging import configured_logging

from workflow_engine.maintenance.invariants import Invariants
from workflow_engine.observability.metrics import ENGINE
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store

from .conftest import Engine


async def test_what_is_broken_is_logged_once_and_counted_until_it_holds_again(
    tmp_path: Path, settings: Settings, store: Store, engine: Engine
) -> None:
    workflow = await engine.start({"name": "sound", "steps": [{"id": "a", "type": "noop"}]})
    duty = Invariants(settings, store)

    async def found() -> float | None:
        assert await duty.sweep_once() == {}
        return ENGINE.get_sample_value("workflow_invariant_violations")

    with configured_logging(LOG_DIR=str(tmp_path)), psycopg.connect(settings.database_url, autocommit=True) as hand:
        assert await found() == 0
        hand.execute("update workflow.workflows set open_tasks = open_tasks + 1 where id = %s", [workflow])
        assert await found() == 1
        assert await found() == 1
        hand.execute("update workflow.workflows set open_tasks = open_tasks - 1 where id = %s", [workflow])
        assert await found() == 0
    (line,) = [line for line in (tmp_path / "app.log").read_text().splitlines() if "an invariant is broken" in line]
    assert "a live workflow counts the open tasks that nothing open waits for" in line
    assert f"workflow_id={workflow}" in line
