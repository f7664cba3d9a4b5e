"""`workflow:lock:<workflow_id>` shows who holds a lock; an operator's DEL is a forced release, nothing else is."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
import redis
from psycopg.types.json import Jsonb
from structlog.testing import capture_logs
from support.eventually import eventually_async

from workflow_engine.embedded.valkey import Valkey
from workflow_engine.maintenance.mirroring import LockMirror, PendingMirror
from workflow_engine.mirror.client import Mirror
from workflow_engine.mirror.locks import LONGEST_SECONDS, LockKeys, OperationLocks, lock_key
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store

from .conftest import Truth


class Leader:
    """What a leader does for the mirror, a sweep at a time."""

    def __init__(self, settings: Settings, store: Store, mirror: Mirror, epoch: int) -> None:
        self._pending = PendingMirror(settings, store, mirror, epoch)
        self._locks = LockMirror(settings, store, mirror, epoch)

    async def sweep(self) -> list[dict[str, object]]:
        """Both parts once; returns the warnings."""
        with capture_logs() as logs:
            await self._pending.rebuild()
            await self._locks.sweep_once()
        return [log for log in logs if log["log_level"] == "warning"]


@pytest.fixture
def leader(own_settings: Settings, store: Store, mirror: Mirror) -> Leader:
    return Leader(own_settings, store, mirror, 1)


@pytest.fixture
def held(truth: Truth) -> str:
    """A workflow whose running task holds the lock `ledger`."""
    (workflow,) = truth.start("other")
    worker = truth.rows(
        "select workflow.register_worker('w-1', 'host', 1, '0', '{slow}', %s, 5, 10, q.worker_id) as id"
        " from procrastinate_register_worker_v1() q",
        Jsonb([{"name": "noop"}]),
    )[0]["id"]
    turn = truth.rows("select workflow.turn(%s, '[]', '{slow}', '{noop}', 1, 30) as turn", worker)[0]["turn"]
    (claim,) = turn["claims"]
    truth.run(
        "insert into workflow.holds (kind, key, task_id, attempt, workflow_id, scope, units, acquired_at)"
        " values ('lock', 'ledger', %s, 1, %s, 'task', 1, now())",
        claim["task_id"],
        workflow,
    )
    return workflow


def holds(truth: Truth) -> int:
    return int(truth.rows("select count(*) as count from workflow.holds")[0]["count"])


async def test_one_readable_key_per_workflow_that_lives_no_longer_than_the_lease(
    leader: Leader, client: redis.Redis, truth: Truth, held: str
) -> None:
    assert await leader.sweep() == []
    assert client.keys("workflow:lock:*") == [f"workflow:lock:{held}"]
    value = client.get(f"workflow:lock:{held}")
    assert re.fullmatch(r'holder=w-1 acquired_at=\S+Z what="lock ledger \(task \d+, step a\)" token=\S+', str(value)), (
        value
    )
    assert 25_000 < client.pttl(f"workflow:lock:{held}") <= LONGEST_SECONDS * 1000
    truth.run("update workflow.tasks set lease_until = now() + interval '4 seconds' where status = 'running'")
    await leader.sweep()
    assert client.get(f"workflow:lock:{held}") == value
    assert client.pttl(f"workflow:lock:{held}") <= 4000


async def test_it_goes_with_the_lock_and_what_others_put_there_stays(
    leader: Leader, client: redis.Redis, truth: Truth, held: str
) -> None:
    await leader.sweep()
    truth.run("delete from workflow.holds")
    await leader.sweep()
    assert client.keys("workflow:lock:*") == []
    client.set(f"workflow:lock:{held}", "another's")
    await leader.sweep()
    assert client.get(f"workflow:lock:{held}") == "another's"


async def test_deleting_it_releases_the_lock_in_postgres(
    leader: Leader, client: redis.Redis, truth: Truth, held: str
) -> None:
    await leader.sweep()
    await leader.sweep()
    assert client.delete(f"workflow:lock:{held}") == 1
    (warning,) = await leader.sweep()
    assert warning["event"] == "lock released externally"
    assert warning["workflow_id"] == held
    assert holds(truth) == 0
    assert await leader.sweep() == []
    assert client.keys("workflow:lock:*") == []


async def test_deleting_it_is_heard_although_redis_did_not_answer_just_then(
    own_settings: Settings, store: Store, client: redis.Redis, truth: Truth, held: str
) -> None:
    mirror = Mirror(own_settings.redis_url)  # as impatient as engines are
    leader = Leader(own_settings, store, mirror, 1)

    async def shown() -> bool:
        await leader.sweep()
        return bool(await leader.sweep() == [] and client.exists(f"workflow:lock:{held}"))

    async def released() -> bool:
        return "lock released externally" in [warning["event"] for warning in await leader.sweep()]

    await eventually_async(shown)
    client.client_pause(500)
    assert [warning["event"] for warning in await leader.sweep()] == ["redis unavailable"]
    assert client.delete(f"workflow:lock:{held}") == 1  # answered when the pause is over
    await eventually_async(released)
    assert holds(truth) == 0
    await mirror.close()


async def test_deleting_it_while_the_api_operates_on_the_workflow_releases_it_too(
    leader: Leader, client: redis.Redis, truth: Truth, mirror: Mirror, held: str
) -> None:
    await leader.sweep()
    client.delete(f"workflow:lock:{held}")
    operations = OperationLocks(mirror)
    async with operations.during(UUID(held), "POST retry"):
        await eventually_async(lambda: _exists(client, held))
        assert [warning["event"] for warning in await leader.sweep()] == ["lock released externally"]
    await operations.close()
    assert holds(truth) == 0


async def _restart(client: redis.Redis, valkey: Valkey, key: str) -> None:
    """As a replica that was promoted and did not have the key yet, or one restarted with an older file."""
    kept = {name: client.dump(name) for name in ("{workflow:tasks:pending}:epoch", "{workflow:tasks:pending}:memory")}
    valkey.stop()
    valkey.start()
    for name, value in kept.items():
        client.restore(name, 0, value)


async def _flush(client: redis.Redis, valkey: Valkey, key: str) -> None:
    client.flushall()


async def _epoch_gone(client: redis.Redis, valkey: Valkey, key: str) -> None:
    client.delete(key, "{workflow:tasks:pending}:epoch")


async def _memory_gone(client: redis.Redis, valkey: Valkey, key: str) -> None:
    client.delete(key, "{workflow:tasks:pending}:memory")


async def _evicted(client: redis.Redis, valkey: Valkey, key: str) -> None:
    """Memory gets short under a policy that lets keys go, and this is one of them."""
    client.config_set("maxmemory-policy", "volatile-ttl")
    for name in ("epoch", "memory"):
        client.persist(f"{{workflow:tasks:pending}}:{name}")
    client.config_set("maxmemory", "1")
    with contextlib.suppress(redis.ResponseError):  # it drops all that has a TTL, and it is not enough
        client.set("filler", "x")
    assert not client.exists(key)
    client.config_set("maxmemory", "128mb")


@pytest.mark.parametrize("forgets", [_flush, _epoch_gone, _memory_gone, _evicted])
async def test_a_redis_that_forgot_it_releases_nothing_and_gets_it_again(
    *,
    leader: Leader,
    client: redis.Redis,
    truth: Truth,
    valkey: Valkey,
    held: str,
    forgets: Callable[[redis.Redis, Valkey, str], Awaitable[None]],
) -> None:
    await leader.sweep()
    await leader.sweep()
    await forgets(client, valkey, f"workflow:lock:{held}")
    for _ in range(3):
        assert [w for w in await leader.sweep() if w["event"] != "redis unavailable"] == []
    assert holds(truth) == 1
    assert client.exists(f"workflow:lock:{held}")


async def test_a_restart_with_older_content_releases_nothing(
    leader: Leader, client: redis.Redis, truth: Truth, valkey: Valkey, held: str
) -> None:
    await leader.sweep()
    await leader.sweep()
    with redis.Redis.from_url(valkey.url) as raw:
        await _restart(raw, valkey, f"workflow:lock:{held}")

    async def written() -> bool:
        await leader.sweep()
        return bool(client.exists(f"workflow:lock:{held}"))

    await eventually_async(written)
    assert holds(truth) == 1


async def test_a_new_leader_releases_nothing_and_an_old_one_that_wakes_up_neither(
    *, own_settings: Settings, store: Store, mirror: Mirror, client: redis.Redis, truth: Truth, held: str
) -> None:
    old, new = (Leader(own_settings, store, mirror, epoch) for epoch in (1, 2))
    await old.sweep()
    client.delete(f"workflow:lock:{held}")
    assert await new.sweep() == []
    client.delete(f"workflow:lock:{held}")
    await LockMirror(own_settings, store, mirror, 1).sweep_once()
    keys = LockKeys(mirror, 1)
    assert await keys.sweep(await store.mirrored.held_locks()) == []
    assert holds(truth) == 1


async def test_a_key_that_could_have_run_out_is_no_release(
    leader: Leader, client: redis.Redis, truth: Truth, held: str
) -> None:
    truth.run("update workflow.tasks set lease_until = now() + interval '0.4 seconds' where status = 'running'")
    await leader.sweep()
    client.delete(f"workflow:lock:{held}")
    truth.run("update workflow.tasks set lease_until = now() + interval '30 seconds' where status = 'running'")
    assert await leader.sweep() == []
    assert holds(truth) == 1


async def test_an_operation_is_shown_while_it_lasts_and_disturbs_no_held_lock(
    mirror: Mirror, client: redis.Redis
) -> None:
    operations = OperationLocks(mirror)
    workflow = UUID(int=1)
    async with operations.during(workflow, "POST cancel"):
        await eventually_async(lambda: _exists(client, str(workflow)))
        assert 'what="POST cancel"' in str(client.get(lock_key(workflow)))
        assert 0 < client.pttl(lock_key(workflow)) <= 30_000
    await eventually_async(lambda: _gone(client, str(workflow)))

    client.set(lock_key(workflow), "held")
    async with operations.during(workflow, "POST cancel"):
        pass
    await operations.close()
    assert client.get(lock_key(workflow)) == "held"


async def _exists(client: redis.Redis, workflow: str) -> bool:
    return bool(client.exists(f"workflow:lock:{workflow}"))


async def _gone(client: redis.Redis, workflow: str) -> bool:
    return not client.exists(f"workflow:lock:{workflow}")
