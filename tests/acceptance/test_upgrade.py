"""An upgrade under load: processes of the version before go on, on the new schema, until they are replaced.

`releases/before.tar.xz` holds the sources of that version. With each release:

    git archive <tag of the last release> src sql | xz -9e > tests/acceptance/releases/before.tar.xz
"""

import os
import signal
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.cluster import Cluster
from support.databases import new_database
from support.documents import Document, chain, fan
from support.load import Load
from support.processes import run_engine

RELEASE = Path(__file__).parent / "releases" / "before.tar.xz"
BATCH = [chain(8, seconds=0.02), fan(12, seconds=0.05)]


@pytest.fixture
def before(tmp_path: Path) -> str:
    """PYTHONPATH that leads to the version before."""
    place = tmp_path / "before"
    with tarfile.open(RELEASE) as archive:
        archive.extractall(place, filter="data")
    return os.pathsep.join([str(place / "src"), str(Path(__file__).parents[1])])


@pytest.fixture
def cluster_before(tmp_path: Path, server_url: str, redis_url: str, before: str) -> Iterator[Cluster]:
    """On a database that the version before has migrated."""
    with new_database(server_url, "upgrade") as database_url:
        migrated = run_engine("migrate", DATABASE_URL=database_url, PYTHONPATH=before)
        assert migrated.returncode == 0, migrated.stderr
        cluster = Cluster(tmp_path, database_url, redis_url)
        yield cluster
        cluster.close()


def test_an_upgrade_under_load_loses_nothing_and_does_nothing_twice(cluster_before: Cluster, before: str) -> None:
    cluster = cluster_before
    old_workers = cluster.up(workers=2, PYTHONPATH=before)
    old_engine = cluster.engine
    broken: list[str] = []

    def try_start(documents: Sequence[Document], key: str) -> list[str] | None:
        """An engine of that version may break on one statement that the migration overtakes."""
        try:
            return cluster.try_start(documents, key)
        except AssertionError:
            broken.append(key)
            return None

    with Load(try_start, BATCH).running() as load:
        load.await_accepted(3)
        migrated = run_engine("migrate", DATABASE_URL=cluster.database_url)
        assert migrated.returncode == 0, migrated.stderr
        load.await_accepted(5)  # the old ones on the new schema
        new_worker = cluster.worker()
        load.await_accepted(3)  # both beside each other
        old_workers[0].kill()
        old_workers[1].send(signal.SIGTERM)
        assert old_workers[1].wait(30) == 0
        _, url = cluster.begin_engine()
        cluster.await_ready()
        cluster.url = url
        old_engine.send(signal.SIGTERM)
        assert old_engine.wait(30) in (0, -signal.SIGTERM)  # as uvicorn had it
        load.await_accepted(3)
    assert new_worker.alive
    assert len(broken) <= 1
    load.assert_all_succeeded(cluster)
    everything = cluster.rows("select count(*) as n from workflow.workflows")[0]["n"]
    assert everything == len(load.accepted), "a repeated start was not recognised"
    lost = cluster.rows("select count(*) as n from workflow.attempts where outcome = 'lost'")[0]["n"]
    steps = sum(len(document["steps"]) for document in load.accepted.values())
    assert steps <= len(cluster.ledger.starts()) <= steps + lost
    cluster.assert_at_rest()
