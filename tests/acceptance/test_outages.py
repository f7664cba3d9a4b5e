"""Postgres or Redis away under load: no process ends for good, everything accepted completes, nothing is done twice.

WORKFLOW_TEST_OUTAGE_SECONDS sets the length of the long outage (default 8; 60 for the long form).
"""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
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
def postgres(directory: Path, request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """A migrated server of this test's own, to be broken."""
    with Postgres(directory / "postgres", settings=getattr(request, "param", {})) as server:
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


SEND_AWAY = "select pg_terminate_backend(pid) from pg_stat_activity where application_name ^@ 'workflow-engine '"


@contextmanager
def read_only(cluster: Cluster) -> Iterator[None]:
    """As after a failover: the server takes no writes any more, over old connections and new ones."""
    switch = "alter system set default_transaction_read_only = {}"
    with psycopg.connect(cluster.database_url, autocommit=True) as connection:
        connection.execute(switch.format("on"))
        connection.execute("select pg_reload_conf()")
        yield
        connection.execute("set default_transaction_read_only = off")
        connection.execute(switch.format("off"))
        connection.execute("select pg_reload_conf()")


@contextmanager
def full(cluster: Cluster) -> Iterator[None]:
    """Others have all connections."""
    with ExitStack() as others:
        connection = others.enter_context(psycopg.connect(cluster.database_url, autocommit=True))
        quiet = 0

        def all_taken() -> bool:
            """Nobody else has a connection, or gets the one that somebody who was sent away takes a moment to leave."""
            nonlocal quiet
            quiet = 0 if connection.execute(SEND_AWAY).fetchall() else quiet + 1
            with suppress(psycopg.OperationalError):
                while True:
                    others.enter_context(psycopg.connect(cluster.database_url))
                    quiet = 0
            return quiet >= 20

        eventually(all_taken, 30)
        yield


@contextmanager
def hung(cluster: Cluster, postgres: Postgres) -> Iterator[None]:
    """The server and all its processes stand still; connections stay open."""
    assert postgres.pid is not None
    server = psutil.Process(postgres.pid)
    stopped = [server, *server.children(recursive=True)]
    for process in stopped:
        process.suspend()
    try:
        yield
    finally:
        for process in stopped:
            process.resume()


@pytest.mark.parametrize("postgres", [{"max_connections": "40"}], indirect=True)
def test_postgres_that_is_read_only_or_full_or_hangs_costs_time_and_nothing_else(
    broken_cluster: Cluster, postgres: Postgres
) -> None:
    cluster = broken_cluster
    cluster.up(workers=2)
    with Load(cluster.try_start, SHORT).running() as load:
        for breakage in (read_only(cluster), full(cluster)):
            load.await_accepted(2)
            refused = load.refused
            with breakage:
                eventually(lambda: load.refused > refused + 1, 30)  # noqa: B023 called before it changes
        load.await_accepted(2)
        with hung(cluster, postgres):
            eventually(lambda: cluster.request("GET", "/readyz").status_code == 503, 15)
            assert cluster.request("GET", "/livez").elapsed.total_seconds() < 5
        load.await_accepted(2)
    assert_all_completed_once(cluster, load)
    assert all(process.alive for process in cluster.processes)
    runs = [(entry.workflow, entry.step) for entry in cluster.ledger.starts()]
    assert len(runs) == len(set(runs)), "a handler ran again though its worker had never died"


FAULT = """
    create sequence public.starts;
    create sequence public.updates;
    create function public.fault() returns trigger language plpgsql as $$
    declare
        v_count bigint := nextval(tg_argv[1]);  -- it is not rolled back
    begin
        -- The first claim twice, and later some turn that brings a result.
        if v_count <= 1 or tg_argv[1] = 'public.updates' and v_count in (2, 6, 7) then
            raise exception 'injected' using errcode = tg_argv[0];
        end if;
        return null;
    end $$;
    create trigger fault before update on workflow.tasks for each statement
    execute function public.fault('{0}', 'public.updates');
    create trigger fault before insert on workflow.workflows for each statement
    execute function public.fault('{0}', 'public.starts');
"""
NO_FAULT = "drop function public.fault cascade; drop sequence public.starts, public.updates"
REPEATED = ("40001", "40P01", "55P03", "25006", "53300", "57P01", "08006")  # by the engine, so that nobody notices
TOLD = ("53100", "53200", "57014", "58030")  # to whoever asked, to ask again


def test_errors_of_postgres_that_pass_are_repeated_or_told_and_never_spend_a_try(cluster: Cluster) -> None:
    cluster.up()
    for sqlstate in (*REPEATED, *TOLD, "XX000"):
        with psycopg.connect(cluster.database_url, autocommit=True) as connection:
            connection.execute(FAULT.format(sqlstate))
            if sqlstate == "XX000":  # what nobody knows of is nobody's to repeat
                connection.execute("drop trigger fault on workflow.workflows")
            first = cluster.try_start([chain(3)], key=sqlstate)
            assert (first is None) == (sqlstate in TOLD), sqlstate
            started = first or eventually(lambda: cluster.try_start([chain(3)], key=sqlstate))  # noqa: B023
            assert cluster.await_end(started[0]) == "succeeded", sqlstate
            while True:
                try:
                    connection.execute(NO_FAULT)
                    break
                except psycopg.errors.DeadlockDetected:  # with the engine, which goes on meanwhile
                    continue
    assert len(cluster.ledger.starts()) == 3 * len((*REPEATED, *TOLD, "XX000"))
    outcomes = {row["outcome"] for row in cluster.rows("select outcome from workflow.attempts")}
    assert outcomes <= {"succeeded", "released"}
    cluster.assert_at_rest()
    assert all(process.alive for process in cluster.processes)


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
