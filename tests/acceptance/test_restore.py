"""docs/operations.md, back up and restore: what was accepted before goes on in another server and ends as it should."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from support.cluster import Cluster
from support.documents import Document, chain, fan, flow
from support.eventually import eventually
from support.load import Load
from support.operations_page import QUICK, blocks, grant_roles, make_roles, shell, url_as
from support.processes import run_engine

from workflow_engine.embedded.places import temporary_data_directory
from workflow_engine.embedded.postgres import Postgres
from workflow_engine.embedded.process import run, service_account

BATCH = [chain(6, seconds=0.05), fan(6, seconds=0.1)]
BOOKS = flow(
    "books",
    {
        "id": "made", "type": "database", "connection": "engine", "transactional": True, "mode": "execute",
        "statement": "create table if not exists booked (n integer)",
    },
    {
        "id": "before", "type": "database", "connection": "engine", "transactional": True, "mode": "execute",
        "statement": "insert into booked values (1)", "depends_on": ["made"],
    },
    {"id": "go", "type": "signal", "inputs": {"name": "go"}, "depends_on": ["before"]},
    {
        "id": "after", "type": "database", "connection": "engine", "transactional": True,
        "statement": "insert into booked values (2) returning n", "depends_on": ["go"],
    },
)  # fmt: skip


@pytest.fixture
def place() -> Iterator[Path]:
    place = temporary_data_directory()
    yield place
    shutil.rmtree(place, ignore_errors=True)


@contextmanager
def cluster_on(postgres: Postgres, directory: Path, redis_url: str) -> Iterator[Cluster]:
    """An engine and two workers, as the owner; nothing of it is left."""
    directory.mkdir()
    cluster = Cluster(directory, url_as(postgres, "workflow_owner"), redis_url)
    try:
        cluster.up(workers=2)
        yield cluster
    finally:
        cluster.close()


@contextmanager
def loaded(cluster: Cluster) -> Iterator[Load]:
    with Load(cluster.try_start, BATCH).running() as load:
        yield load


def begin(cluster: Cluster, load: Load) -> tuple[dict[str, Document], str]:
    """Work of all kinds is under way: what was accepted by now, and a workflow that waits for a signal."""
    waiting = cluster.start(BOOKS)
    eventually(lambda: cluster.task(waiting, "go")["status"] == "waiting", 30)
    load.await_accepted(3)
    assert cluster.rows("select count(*) as n from workflow.jobs where status = 'doing'")[0]["n"] > 0
    return dict(load.accepted), waiting


def assert_it_goes_on(cluster: Cluster, accepted: dict[str, Document], waiting: str) -> None:
    assert cluster.request("POST", f"/api/v1/workflows/{waiting}/signal/go", json={}).is_success
    load = Load(cluster.try_start, BATCH)
    load.accepted = accepted
    load.assert_all_succeeded(cluster)
    assert cluster.await_end(waiting) == "succeeded"
    new = cluster.start(BATCH[0])
    assert cluster.await_end(new) == "succeeded"
    everything = cluster.rows("select array_agg(id::text) as ids from workflow.workflows")[0]["ids"]
    cluster.await_ends(everything)
    cluster.assert_at_rest()


def test_a_dump_taken_under_load_is_restored_into_an_empty_server_and_everything_goes_on(
    tmp_path: Path, place: Path, redis_url: str
) -> None:
    (dump,) = (block for block in blocks("Back up and restore", "sh") if "pg_dump" in block)
    (restore,) = (block for block in blocks("Back up and restore", "sh") if "pg_restore" in block)
    with Postgres(place / "old", settings=QUICK) as old:
        make_roles(old)
        assert run_engine("migrate", DATABASE_URL=url_as(old, "workflow_owner")).returncode == 0
        grant_roles(old)
        with cluster_on(old, tmp_path / "old", redis_url) as cluster, loaded(cluster) as load:
            accepted, waiting = begin(cluster, load)
            shell(old, dump, tmp_path, DATABASE_URL=cluster.database_url)
            load.await_accepted(1)
    with Postgres(place / "new", settings=QUICK) as new:
        make_roles(new)
        said = shell(new, restore, tmp_path, DATABASE_URL=url_as(new, "workflow_owner"))
        assert "role workflow_step_" in said
        with psycopg.connect(url_as(new, "workflow_reader")) as reader:  # it was granted in the old one
            assert reader.execute("select count(*) from workflow.workflow_list").fetchone() != (0,)
        with cluster_on(new, tmp_path / "new", redis_url) as cluster:
            assert_it_goes_on(cluster, accepted, waiting)


@pytest.mark.long
def test_a_base_backup_and_wal_lead_back_to_the_moment_before_a_mistake(
    tmp_path: Path, place: Path, redis_url: str
) -> None:
    account = service_account()
    archive, backup = place / "archive", place / "backup"
    for directory in (archive, backup):
        directory.mkdir(parents=True)
        directory.chmod(0o700)
        if account:
            os.chown(directory, account.uid, account.gid)
    settings = {**QUICK, "archive_mode": "on", "archive_command": f"cp %p {archive}/%f"}
    with Postgres(place / "old", settings=settings) as old:
        make_roles(old)
        assert run_engine("migrate", DATABASE_URL=url_as(old, "workflow_owner")).returncode == 0
        with cluster_on(old, tmp_path / "old", redis_url) as cluster, loaded(cluster) as load:
            load.await_accepted(1)
            command = [old.binaries["pg_basebackup"], "-d", old.url, "-D", backup, "--checkpoint=fast", "-X", "none"]
            run([*command, "--no-manifest"], account=account)
            accepted, waiting = begin(cluster, load)
            with psycopg.connect(old.url, autocommit=True) as administrator:
                administrator.execute("select pg_create_restore_point('before the mistake')")
                administrator.execute("delete from workflow.tasks")
                administrator.execute("select pg_switch_wal()")
    # As a backup tool does it: the files, and a server that fetches the rest until the restore point.
    shutil.copytree(place / "old", place / "new", ignore=lambda _, names: {"cluster"} & set(names))
    (place / "new" / "cluster").mkdir(mode=0o700)
    if account:
        os.chown(place / "new" / "cluster", account.uid, account.gid)
    (backup / "recovery.signal").touch()
    if account:
        os.chown(backup / "recovery.signal", account.uid, account.gid)
    backup.rename(place / "new" / "cluster" / "data")
    recovery = {
        "restore_command": f"cp {archive}/%f %p",
        "recovery_target_name": "before the mistake",
        "recovery_target_action": "promote",
    }
    with Postgres(place / "new", settings={**QUICK, **recovery}) as new:

        def promoted() -> bool:
            with psycopg.connect(new.url) as connection:
                return connection.execute("select pg_is_in_recovery()").fetchone() == (False,)

        eventually(promoted, 30)
        migrated = run_engine("migrate", DATABASE_URL=url_as(new, "workflow_owner"))
        assert (migrated.returncode, migrated.stdout) == (0, "The database is up to date.\n"), migrated.stderr
        with cluster_on(new, tmp_path / "new", redis_url) as cluster:
            assert_it_goes_on(cluster, accepted, waiting)
