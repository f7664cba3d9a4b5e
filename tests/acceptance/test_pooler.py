"""docs/operations.md, PgBouncer: what works through it, with the settings of the page."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from support.cluster import TAKEOVER_SECONDS, Cluster
from support.documents import chain, fan
from support.load import Load
from support.operations_page import QUICK, blocks, grant_roles, make_roles, run_statements, url_as
from support.processes import run_engine

from workflow_engine.embedded.places import free_port, temporary_data_directory
from workflow_engine.embedded.postgres import Postgres
from workflow_engine.embedded.process import Child, service_account

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
BATCH = [chain(6), fan(6)]
POOL = 3  # of connections that all pools of all processes share in transaction mode

pytestmark = pytest.mark.skipif(
    PGBOUNCER is None, reason="not checked: there is no pgbouncer (apt-get install pgbouncer)"
)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres(temporary_data_directory(), settings=QUICK) as postgres:
        make_roles(postgres)
        assert run_engine("migrate", DATABASE_URL=url_as(postgres, "workflow_owner")).returncode == 0
        grant_roles(postgres)
        run_statements(postgres.url, blocks("PgBouncer", "sql")[0])
        yield postgres


@contextmanager
def pgbouncer(postgres: Postgres, place: Path, *lines: str) -> Iterator[int]:
    """A pooler before the server, with the lines of the page among its settings; gives its port."""
    account, port = service_account(), free_port()
    users = {role: urlsplit(url_as(postgres, role)).password for role in ("workflow_engine", "workflow_worker")}
    (place / "users.txt").write_text("".join(f'"{user}" "{password}"\n' for user, password in users.items()))
    (place / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={postgres.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = {place}/users.txt\n" + "\n".join(lines) + "\n"
    )
    if account:
        for path in (place, place / "users.txt", place / "pgbouncer.ini"):
            os.chown(path, account.uid, account.gid)
    assert PGBOUNCER is not None
    process = Child([PGBOUNCER, place / "pgbouncer.ini"], log=place.with_suffix(".log"), account=account, cwd="/")
    try:
        yield port
    finally:
        process.stop(signal.SIGINT, grace=5)


def through(url: str, port: int) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}"))


@pytest.mark.long
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_work_goes_on_through_a_pooler_and_one_engine_leads(
    tmp_path: Path, postgres: Postgres, redis_url: str, mode: str
) -> None:
    settings = blocks("PgBouncer", "ini")[0].splitlines() if mode == "session" else ["pool_mode = transaction"]
    place = temporary_data_directory()
    with pgbouncer(postgres, place, *settings, f"default_pool_size = {POOL if mode == 'transaction' else 60}") as port:
        cluster = Cluster(tmp_path, postgres.url, redis_url)
        urls = {}
        for role in ("engine", "worker"):
            direct = url_as(postgres, f"workflow_{role}")
            urls[role] = {"DATABASE_URL": through(direct, port)}
            if mode == "transaction":
                urls[role]["WORKFLOW_DIRECT_DATABASE_URL"] = direct
        try:
            first, url = cluster.begin_engine(**urls["engine"])
            cluster.await_ready()
            cluster.url = url
            first.says("leading")
            second, second_url = cluster.begin_engine(**urls["engine"])
            for _ in range(2):
                cluster.worker(**urls["worker"])
            cluster.await_ready()
            cluster.url = second_url
            with Load(cluster.try_start, BATCH).running() as load:
                load.await_accepted(4)
                waited = cluster.request("POST", "/api/v1/workflows?wait=10s", json=chain(2))
                assert (waited.status_code, waited.json()["status"]) == (200, "succeeded"), waited.text
                assert "leading" not in second.output
                first.kill()
                second.says("leading", TAKEOVER_SECONDS)
                load.await_accepted(2)
                doctor = run_engine("doctor", REDIS_URL=redis_url, **urls["engine"])
            load.assert_all_succeeded(cluster)
            if mode == "transaction":
                through_it = cluster.rows(
                    "select count(*) as n from pg_stat_activity where usename = 'workflow_engine'"
                    " and application_name in ('workflow-engine api', 'workflow-engine audit')"
                )[0]["n"]
                assert through_it <= POOL
            said = "".join(process.output for process in cluster.processes[1:])
            cluster.assert_at_rest()
        finally:
            cluster.close()
            shutil.rmtree(place, ignore_errors=True)
    for trouble in (
        "prepared statement",
        "unsupported startup",
        "duty failed",
        "listening interrupted",
        "permission denied",
    ):
        assert trouble not in said
    assert ("a pooler is between" in doctor.stdout) == (mode == "session"), doctor.stdout
    assert ("ok    pooler" in doctor.stdout) == (mode == "transaction"), doctor.stdout
