"""What docs/redis.md says the engines need of Redis is enough, and not more than they need by whole categories."""

from __future__ import annotations

import re
from pathlib import Path

import redis
from structlog.testing import capture_logs

from workflow_engine.embedded.valkey import Valkey
from workflow_engine.maintenance.mirroring import LockMirror, PendingMirror
from workflow_engine.mirror.client import Mirror
from workflow_engine.mirror.definitions import DefinitionCache
from workflow_engine.mirror.probe import problem_of
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store

from .conftest import Truth

PAGE = (Path(__file__).parents[3] / "docs" / "redis.md").read_text()


async def test_the_documented_permissions_are_enough(
    own_settings: Settings, store: Store, valkey: Valkey, client: redis.Redis, truth: Truth
) -> None:
    found = re.search(r"For the engines: `([^`]+)`", PAGE)
    assert found
    client.execute_command("ACL", "SETUSER", "engine", "on", ">secret", *found[1].split())
    truth.start()
    truth.run(
        "insert into workflow.holds (kind, key, task_id, attempt, workflow_id, scope, units, acquired_at)"
        " select 'lock', 'ledger', t.id, 1, t.workflow_id, 'workflow', 1, now() from workflow.tasks t limit 1"
    )
    mirror = Mirror(valkey.url.replace("redis://", "redis://engine:secret@"))
    try:
        with capture_logs() as logs:
            pending = PendingMirror(own_settings, store, mirror, 1)
            locks = LockMirror(own_settings, store, mirror, 1)
            cache = DefinitionCache(mirror)
            for _ in range(2):
                assert await pending.rebuild() == 3
                await locks.sweep_once()
            await cache.put("a", 1, generation=await cache.generation(), hash="", document={})
            await cache.get("a", 1)
            await cache.renew()
            assert await problem_of(mirror) is None
            client.delete(*client.keys("workflow:lock:*"))
            await locks.sweep_once()
        assert [log["event"] for log in logs] == ["lock released externally"]
    finally:
        await mirror.close()


def test_an_autoscaler_may_ask_for_the_length_and_nothing_else(client: redis.Redis, valkey: Valkey) -> None:
    found = re.search(r"For KEDA: `([^`]+)`", PAGE)
    assert found
    client.execute_command("ACL", "SETUSER", "keda", "on", ">secret", *found[1].split())
    client.rpush("workflow:tasks:pending", "1", "2")
    script = "if redis.call('type', KEYS[1]).ok == 'list' then return redis.call('llen', KEYS[1]) end return 0"
    with redis.Redis.from_url(valkey.url.replace("redis://", "redis://keda:secret@")) as keda:
        assert keda.ping()
        assert keda.eval(script, 1, "workflow:tasks:pending") == 2
        for forbidden in (("DEL", "workflow:tasks:pending"), ("LLEN", "workflow:definitions:*")):
            try:
                keda.execute_command(*forbidden)
            except redis.exceptions.NoPermissionError:
                continue
            raise AssertionError(forbidden)
