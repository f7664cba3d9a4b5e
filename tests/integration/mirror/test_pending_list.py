"""`workflow:tasks:pending` says what Postgres says, whatever is done to it and to Redis."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
import redis
from structlog.testing import capture_logs
from support.eventually import eventually_async

from workflow_engine.embedded.valkey import Valkey
from workflow_engine.errors import RedisUnavailable
from workflow_engine.maintenance import mirroring
from workflow_engine.maintenance.mirroring import PendingMirror, rest_after
from workflow_engine.mirror.client import Mirror
from workflow_engine.mirror.pending import EPOCH, PENDING, Deposed, PendingLists
from workflow_engine.observability.metrics import ENGINE
from workflow_engine.records import PendingQueue
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store

from .conftest import Lead, Truth

EXACT = 2  # snapshots: one that was being taken when something changed, and the next
Sabotage = Callable[[redis.Redis], object]


def counted(name: str, **labels: str) -> float:
    return ENGINE.get_sample_value(name, labels) or 0.0


async def said(length: float) -> bool:
    return counted("workflow_queue_mirror_length") == length


def snapshots() -> float:
    return counted("workflow_mirror_rebuilds_total", result="ok")


async def shows(client: redis.Redis, ids: list[str], name: str = PENDING) -> None:
    """Wait until a list has these ids. A snapshot is taken each second (see `rest_after`); where a busy machine makes
    seconds long, it is snapshots that count."""
    before = snapshots()

    async def same() -> bool:
        taken = snapshots() - before
        try:
            shown = client.lrange(name, 0, -1)
        except redis.ResponseError as error:
            shown = [f"{name}: {error}"]
        if shown != ids and taken >= EXACT:
            raise RuntimeError(f"after {taken:g} snapshots it is still {shown}, not {ids}")
        assert shown == ids
        return True

    await eventually_async(same, 30)


@pytest.mark.parametrize(("took", "rest"), [(0.01, 0.99), (0.3, 2.7), (6.0, 4.0)])
def test_snapshots_that_take_long_are_taken_less_often_but_never_so_seldom_that_what_is_lost_stays_lost(
    took: float, rest: float
) -> None:
    assert rest_after(took) == pytest.approx(rest)


async def test_an_empty_queue_is_no_key_and_a_length_of_zero(lead: Lead, client: redis.Redis, truth: Truth) -> None:
    client.set(PENDING, "an operator's string")
    async with lead():
        await shows(client, [])
    assert client.llen(PENDING) == 0


async def test_it_lists_pending_tasks_within_two_seconds_and_each_queue_on_its_own(
    lead: Lead, client: redis.Redis, truth: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirroring, "_EMPTY_SECONDS", 3600)  # that something became pending, it is told
    async with lead():
        await shows(client, [])
        truth.start("flow", 2)
        truth.start("other")
        ids = truth.pending()
        assert len(ids) == 7
        await shows(client, ids)
        await shows(client, truth.pending("slow"), f"{PENDING}:slow")
        await shows(client, truth.pending("default"), f"{PENDING}:default")
        truth.run("delete from procrastinate_jobs where queue_name = 'slow'")
        await shows(client, truth.pending())
        await shows(client, [], f"{PENDING}:slow")
        assert not client.exists(f"{PENDING}:slow")


async def test_who_leads_no_more_says_no_length(lead: Lead, truth: Truth) -> None:
    truth.start("flow", 2)
    async with lead():
        await eventually_async(lambda: said(6.0))
        assert counted("workflow_engine_leader") == 1
    assert await said(0.0)
    assert counted("workflow_engine_leader") == 0


async def test_tasks_that_run_wait_or_are_held_are_not_listed_and_due_ones_are(
    own_settings: Settings, store: Store, mirror: Mirror, client: redis.Redis, truth: Truth
) -> None:
    truth.start("flow", 2)
    jobs = [row["id"] for row in truth.rows("select id from procrastinate_jobs order by id")]
    truth.run("update procrastinate_jobs set scheduled_at = workflow.never() where id = %s", jobs[0])
    truth.run("update procrastinate_jobs set scheduled_at = now() + interval '1 hour' where id = %s", jobs[1])
    truth.run("update procrastinate_jobs set scheduled_at = now() - interval '1 second' where id = %s", jobs[2])
    truth.run("update procrastinate_jobs set status = 'doing' where id = %s", jobs[3])
    ids = truth.pending()
    assert await PendingMirror(own_settings, store, mirror, 1).rebuild() == 3
    assert set(client.lrange(PENDING, 0, -1)) == set(ids)


async def test_without_notifications_it_is_exact_within_two_seconds_too(
    lead: Lead, client: redis.Redis, truth: Truth
) -> None:
    async with lead(WORKFLOW_LISTEN_NOTIFY=False):
        await shows(client, [])
        truth.start()
        await shows(client, truth.pending())


@pytest.mark.parametrize(
    "sabotage",
    [
        pytest.param(lambda client: client.delete(PENDING), id="del"),
        pytest.param(lambda client: client.lpop(PENDING, 2), id="lpop"),
        pytest.param(lambda client: client.rpush(PENDING, "bogus"), id="rpush"),
        pytest.param(lambda client: client.set(PENDING, "text"), id="set"),
        pytest.param(lambda client: client.flushall(), id="flushall"),
        pytest.param(lambda client: client.script_flush(), id="script flush"),
        pytest.param(lambda client: client.set(f"{{{PENDING}}}:next", "text"), id="foreign :next"),
        pytest.param(lambda client: client.rpush(EPOCH, "x") if client.delete(EPOCH) else 0, id="foreign :epoch"),
        pytest.param(
            lambda client: client.set(f"{{{PENDING}}}:queues", "x") if client.delete(f"{{{PENDING}}}:queues") else 0,
            id="foreign :queues",
        ),
    ],
)
async def test_what_others_do_to_it_is_repaired_within_five_seconds(
    lead: Lead, client: redis.Redis, truth: Truth, sabotage: Sabotage
) -> None:
    truth.start("flow", 3)
    async with lead():
        await shows(client, truth.pending())
        sabotage(client)
        await shows(client, truth.pending())
        truth.start("other")
        await shows(client, truth.pending())


async def test_readers_never_see_a_part_of_it(client: redis.Redis, truth: Truth, mirror: Mirror) -> None:
    lists = PendingLists(mirror, 1)
    sizes = (12_000, 17_000)
    snapshots = [[PendingQueue("default", ",".join(map(str, range(size))), size)] for size in sizes]
    seen: set[int] = set()
    done = False

    def read() -> None:
        while not done:
            seen.add(client.llen(PENDING))

    await lists.write(snapshots[0])
    reading = asyncio.create_task(asyncio.to_thread(read))
    for number in range(10):
        await lists.write(snapshots[number % 2])
    done = True
    await reading
    assert seen <= set(sizes)


async def test_a_deposed_leader_changes_nothing(client: redis.Redis, mirror: Mirror) -> None:
    old, new = PendingLists(mirror, 7), PendingLists(mirror, 8)
    await old.write([PendingQueue("default", "1,2,3", 3)])
    await new.write([PendingQueue("default", "4", 1)])
    with pytest.raises(Deposed):
        await old.write([PendingQueue("default", "1,2,3", 3)])
    assert client.lrange(PENDING, 0, -1) == ["4"]
    assert client.lrange(f"{PENDING}:default", 0, -1) == ["4"]
    assert client.get(EPOCH) == "8"


async def test_the_epoch_of_a_database_that_is_gone_is_forgotten(client: redis.Redis, mirror: Mirror) -> None:
    await PendingLists(mirror, 8).write([])
    assert 0 < client.ttl(EPOCH) <= 60


async def test_lists_that_an_earlier_leader_left_are_removed(client: redis.Redis, mirror: Mirror) -> None:
    await PendingLists(mirror, 1).write([PendingQueue("old", "1", 1), PendingQueue("kept", "2", 1)])
    await PendingLists(mirror, 2).write([PendingQueue("kept", "2", 1)])
    assert not client.exists(f"{PENDING}:old")
    assert client.lrange(f"{PENDING}:kept", 0, -1) == ["2"]


async def test_above_a_hundred_thousand_it_is_cut_and_that_is_said_once(
    own_settings: Settings, store: Store, mirror: Mirror, client: redis.Redis, truth: Truth
) -> None:
    truth.run(
        "insert into workflow.jobs (queue_name, task_name, priority, args, status)"
        " select 'default', 'workflow:noop', 0, jsonb_build_object('task_id', i), 'todo'"
        " from generate_series(1, 100001) i"
    )
    pending = PendingMirror(own_settings, store, mirror, 1)
    with capture_logs() as logs:
        assert await pending.rebuild() == 100_000
        assert await pending.rebuild() == 100_000
    assert client.llen(PENDING) == 100_000
    assert client.ttl(PENDING) == -1
    assert [log["event"] for log in logs] == ["more tasks are pending than the list in redis may hold"]
    assert counted("workflow_queue_mirror_length") == 100_000


async def test_a_restarted_redis_is_filled_again(lead: Lead, client: redis.Redis, valkey: Valkey, truth: Truth) -> None:
    truth.start("flow", 3)
    async with lead():
        await shows(client, truth.pending())
        valkey.stop()
        await asyncio.sleep(0.5)  # an outage that is noticed
        valkey.start()
        await shows(client, truth.pending())


async def test_an_outage_is_told_once_and_its_end_once(
    own_settings: Settings, store: Store, mirror: Mirror, valkey: Valkey, truth: Truth
) -> None:
    pending = PendingMirror(own_settings, store, mirror, 1)
    assert await pending.rebuild() == 0
    errors = counted("workflow_redis_errors_total", op="pending")
    failed = counted("workflow_mirror_rebuilds_total", result="failed")
    valkey.stop()
    with capture_logs() as logs:
        for _ in range(30):
            assert await pending.rebuild() is None
            await asyncio.sleep(0.02)
        valkey.start()

        async def again() -> bool:
            return await pending.rebuild() == 0

        await eventually_async(again)
    assert [log["event"] for log in logs] == ["redis unavailable", "redis available again"]
    assert counted("workflow_redis_errors_total", op="pending") > errors
    assert counted("workflow_mirror_rebuilds_total", result="failed") >= failed + 30


async def test_a_hung_redis_costs_a_quarter_of_a_second_and_then_nothing(valkey: Valkey) -> None:
    mirror = Mirror(valkey.url)
    lists = PendingLists(mirror, 1)

    async def works() -> bool:
        with suppress(RedisUnavailable):
            return await lists.write([]) == 0
        return False

    await eventually_async(works)
    assert valkey.pid
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        took = []
        for _ in range(4):
            started = time.monotonic()
            with pytest.raises(Exception, match="Redis"):
                await lists.write([])
            took.append(time.monotonic() - started)
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    assert 0.25 <= took[0] < 2.5, "the rest is patience with a busy machine"
    assert min(took[1:]) < took[0] / 5

    await eventually_async(works)
    await mirror.close()


@pytest.mark.parametrize("refusal", ["full", "replica"])
async def test_a_redis_that_refuses_writes_is_an_outage_and_then_filled_again(
    lead: Lead, client: redis.Redis, truth: Truth, refusal: str
) -> None:
    truth.start("flow", 3)
    async with lead():
        await shows(client, truth.pending())
        with capture_logs() as logs:
            if refusal == "full":
                client.config_set("maxmemory", "1")
            else:
                client.replicaof("127.0.0.1", "9")
            before = truth.pending()
            truth.start()

            async def told() -> bool:
                return "redis unavailable" in [log["event"] for log in logs]

            await eventually_async(told)
            if refusal == "full":
                client.config_set("maxmemory", "128mb")
            else:
                client.replicaof("NO", "ONE")
            assert len(truth.pending()) == len(before) + 3
            await shows(client, truth.pending())
        assert [log["event"] for log in logs].count("redis unavailable") == 1


async def test_writing_that_is_cancelled_ends(mirror: Mirror) -> None:
    lists = PendingLists(mirror, 1)

    async def write_on() -> None:
        while True:
            await lists.write([PendingQueue("default", "1,2,3", 3)])

    for number in range(50):
        writing = asyncio.create_task(write_on())
        await asyncio.sleep(0.003 + number / 10_000)
        writing.cancel()
        assert await asyncio.wait([writing], timeout=5) == ({writing}, set())


async def test_that_a_later_leader_writes_is_told_once(
    own_settings: Settings, store: Store, mirror: Mirror, client: redis.Redis
) -> None:
    client.set(EPOCH, "9", ex=60)
    pending = PendingMirror(own_settings, store, mirror, 1)
    refused = counted("workflow_mirror_rebuilds_total", result="refused")
    with capture_logs() as logs:
        assert await pending.rebuild() is None
        assert await pending.rebuild() is None
        client.delete(EPOCH)
        assert await pending.rebuild() == 0
    assert [log["log_level"] for log in logs] == ["warning"]
    assert counted("workflow_mirror_rebuilds_total", result="refused") == refused + 2
