"""Postgres or Redis away under load: no process ends for good, everything accepted completes, nothing is done twice.

WORKFLOW_TEST_OUTAGE_SECONDS sets the length of the long outage (default 8; 60 for the long form).
"""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cluster import LEASE_SECONDS, Cluster
from support.documents import chain, fan, flow, step
from support.eventually import eventually
from support.load import Load

from workflow_engine.bootstrap import migrate
from workflow_engine.embedded.places import temporary_data_directory
from workflow_engine.embedded.postgres import Postgres
from workflow_engine.embedded.valkey import Valkey

OUTAGE_SECONDS = float(os.environ.get("WORKFLOW_TEST_OUTAGE_SECONDS", "8"))
SHORT = [chain(10, seconds=0.05), fan(20, seconds=0.2)]
LONG = chain(2, seconds=2 * LEASE_SECONDS)  # each step outlives its lease


@pytest.fixture
def directory() -> Iterator[Path]:
    path = temporary_data_directory()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def postgres(directory: Path) -> Iterator[Postgres]:
    """A migrated server of this test's own, to be broken."""
    with Postgres(directory / "postgres") as server:
        migrate(server.url)
        yield server


@pytest.fixture
def valkey(directory: Path) -> Iterator[Valkey]:
    with Valkey(directory / "valkey") as server:
        yield server


@pytest.fixture
def broken_cluster(tmp_path: Path, postgres: Postgres, valkey: Valkey) -> Iterator[Cluster]:
    """On servers that the test breaks."""
    cluster = Cluster(tmp_path, postgres.url, valkey.url)
    yield cluster
    cluster.close()


def stop_at_once(postgres: Postgres) -> None:
    """An immediate stop: no checkpoint, no goodbye to the clients."""
    pid = postgres.pid
    assert pid is not None
    os.kill(pid, signal.SIGQUIT)
    eventually(lambda: not postgres.alive)


def assert_all_completed_once(cluster: Cluster, load: Load) -> None:
    load.assert_all_succeeded(cluster)
    everything = cluster.rows("select count(*) as n from workflow.workflows")[0]["n"]
    assert everything == len(load.accepted), "a repeated start was not recognised"
    cluster.assert_at_rest()


def test_postgres_away_under_load_costs_time_and_nothing_else(broken_cluster: Cluster, postgres: Postgres) -> None:
    cluster = broken_cluster
    cluster.up(workers=2)
    with Load(cluster.try_start, [*SHORT, LONG]).running() as load:
        load.await_accepted(5)
        eventually(lambda: cluster.ledger.ends("last"))
        stop_at_once(postgres)
        stopped = time.monotonic()
        eventually(lambda: time.monotonic() - stopped > OUTAGE_SECONDS, OUTAGE_SECONDS + 1)
        assert load.refused > 0
        postgres.start()
        load.await_accepted(5)
    assert_all_completed_once(cluster, load)
    assert all(process.alive for process in cluster.processes)

    runs = [(entry.workflow, entry.step) for entry in cluster.ledger.starts()]
    assert len(runs) == len(set(runs)), "a handler ran again though its worker had never died"


def test_a_worker_that_is_told_to_stop_while_postgres_is_away_ends_in_bounded_time(
    broken_cluster: Cluster, postgres: Postgres, tmp_path: Path
) -> None:
    cluster = broken_cluster
    idle, busy, waiting = (cluster.begin_worker(WORKFLOW_QUEUES=queue) for queue in ("idle", "busy", "waiting"))
    cluster.up(workers=0)
    for worker in (idle, busy, waiting):
        worker.says("worker registered")
    busy_on, waiting_on = (
        cluster.start(flow(queue, {**step("a", type="gated", gate=str(tmp_path / queue)), "queue": queue}))
        for queue in ("busy", "waiting")
    )
    eventually(lambda: len(cluster.ledger.starts("a")) == 2)
    stop_at_once(postgres)
    (tmp_path / "waiting").touch()  # this one has a result that it cannot deliver
    for worker in (idle, waiting):
        worker.says("postgres unavailable")  # it is in the middle of a turn
    for worker in (idle, busy, waiting):
        worker.send(signal.SIGTERM)
    for worker in (idle, waiting):
        worker.says("stopping without an answer from postgres")
    assert busy.alive, "it has all its grace time, for Postgres may come back"
    busy.send(signal.SIGTERM)
    assert [worker.wait(30) for worker in (idle, busy, waiting)] == [0, 0, 0]

    postgres.start()
    (tmp_path / "busy").touch()
    cluster.worker(WORKFLOW_QUEUES="busy,waiting")
    for workflow in (busy_on, waiting_on):
        assert cluster.await_end(workflow) == "succeeded"
        assert cluster.outcomes(workflow, "a") == ["lost", "succeeded"]


def test_redis_that_hangs_and_then_dies_under_load_is_not_noticed(broken_cluster: Cluster, valkey: Valkey) -> None:
    cluster = broken_cluster
    cluster.up()
    pid = valkey.pid
    assert pid is not None
    with Load(cluster.try_start, SHORT).running() as load:
        for breakage in (signal.SIGSTOP, signal.SIGKILL):
            load.await_accepted(3)
            os.kill(pid, breakage)
        load.await_accepted(3)
    assert_all_completed_once(cluster, load)
    assert load.refused == 0
    assert all(process.alive for process in cluster.processes)
    assert len(cluster.ledger.starts()) == sum(len(document["steps"]) for document in load.accepted.values())
