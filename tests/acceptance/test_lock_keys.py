"""The runbook's commands for locks, with real workers: who holds one, taking it away, and what a dead holder leaves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from support.cluster import LEASE_SECONDS, TAKEOVER_SECONDS, Cluster
from support.documents import flow, step
from support.eventually import eventually

NOTICED_SECONDS = 15.0  # some 2 where nobody else needs the machine


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def locked(name: str, gate: Path) -> dict[str, Any]:
    return flow(name, step("charge", type="gated", gate=str(gate)) | {"locks": ["ledger"]})


def held(cluster: Cluster, client: redis.Redis, gate: Path) -> str:
    """A workflow whose task runs under the lock, shown in Redis."""
    workflow = cluster.start(locked("holder", gate))
    eventually(lambda: cluster.ledger.starts("charge"))
    eventually(lambda: client.exists(f"workflow:lock:{workflow}"), NOTICED_SECONDS)
    return workflow


def test_deleting_the_key_of_a_lock_lets_the_next_one_in_and_the_old_holders_result_is_stale(
    cluster: Cluster, client: redis.Redis, tmp_path: Path
) -> None:
    cluster.up(workers=2)
    gates = [tmp_path / "first", tmp_path / "second"]
    first = held(cluster, client, gates[0])
    second = cluster.start(locked("waiter", gates[1]))
    assert client.keys("workflow:lock:*") == [f"workflow:lock:{first}"]
    assert 'what="lock ledger (task' in str(client.get(f"workflow:lock:{first}"))
    assert cluster.task(second, "charge")["status"] == "pending"

    assert client.delete(f"workflow:lock:{first}") == 1

    def runs() -> bool:
        # Again: where Redis took too long to tell the engine that it wrote the key, the engine cannot miss it.
        client.delete(f"workflow:lock:{first}")
        return str(cluster.task(second, "charge")["status"]) == "running"

    eventually(runs, NOTICED_SECONDS)
    engine = cluster.processes[0]
    engine.says("lock released externally", NOTICED_SECONDS)
    line = next(line for line in engine.output.splitlines() if "lock released externally" in line)
    assert "level=warning" in line
    assert f"workflow_id={first}" in line
    eventually(lambda: client.keys("workflow:lock:*") == [f"workflow:lock:{second}"], NOTICED_SECONDS)
    for gate in gates:
        gate.touch()
    assert set(cluster.await_ends([first, second], TAKEOVER_SECONDS).values()) == {"succeeded"}
    assert cluster.outcomes(first, "charge") == ["released", "succeeded"]
    assert cluster.outcomes(second, "charge") == ["succeeded"]
    eventually(lambda: client.keys("workflow:lock:*") == [], NOTICED_SECONDS)
    cluster.assert_at_rest()


def test_an_emptied_redis_takes_no_lock_from_anyone(cluster: Cluster, client: redis.Redis, tmp_path: Path) -> None:
    cluster.up()
    gate = tmp_path / "gate"
    workflow = held(cluster, client, gate)
    client.flushall()
    eventually(lambda: client.exists(f"workflow:lock:{workflow}"), NOTICED_SECONDS)
    gate.touch()
    assert cluster.await_end(workflow) == "succeeded"
    assert cluster.outcomes(workflow, "charge") == ["succeeded"]
    assert "lock released externally" not in cluster.processes[0].output


def test_the_key_of_a_killed_holder_is_gone_with_its_lease(
    cluster: Cluster, client: redis.Redis, tmp_path: Path
) -> None:
    (worker,) = cluster.up()
    workflow = held(cluster, client, tmp_path / "gate")
    worker.kill()
    killed = time.monotonic()
    eventually(lambda: not client.exists(f"workflow:lock:{workflow}"), TAKEOVER_SECONDS)
    assert time.monotonic() - killed < LEASE_SECONDS + NOTICED_SECONDS
    assert "lock released externally" not in cluster.processes[0].output
