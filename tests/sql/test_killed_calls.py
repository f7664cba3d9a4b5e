"""Whoever is killed between any two statements of a call leaves nothing of it, and the call can be made again.

Each call is stopped behind each of its statements. To Postgres an error and the end of a session are the same, the end
of the transaction; so most stops are errors, which cost no connection. That it is the same is tried as well, by
sessions that end and by server processes that get SIGKILL: some of each call, all with `WORKFLOW_TEST_KILLS=all`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from support.eventually import eventually
from support.invariants import assert_sound

from workflow_engine.bootstrap import migrate
from workflow_engine.embedded.postgres import Postgres

from .connections import Connection, Janitor, open_connection
from .engine import Engine
from .scenes import begin, first_ends, set_scene
from .stepping import STOPPED, How, Pair, install, refused, steps_of, stop_at

Call = Callable[[Engine], Any]
KILLS = 10**6 if os.environ.get("WORKFLOW_TEST_KILLS") == "all" else 2  # of each call
EXPIRED = "31 seconds"


def start(engine: Engine) -> Call:
    set_scene(engine)
    starts = [{"name": name, "input": {"n": 1}} for name in ("most", "line", "undone")]
    return lambda e: e.start_many(starts, key="once", fingerprint="same")


def turn(engine: Engine) -> Call:
    ends = first_ends(begin(engine).claims)
    # Made again after it was committed, it would claim what is new.
    return lambda e: e.turn(ends, want=0 if e.rows("select 1 from workflow.scopes") else 100)


def turn_of_failures(engine: Engine) -> Call:
    scene = set_scene(engine)
    engine.finish(scene.claims.pop("in").succeeded())
    (out,) = engine.claim()
    engine.run("update workflow.workflows set fail_fast = true where id = %s", scene.most)
    ends = [out.failed(), scene.claims["run"].failed(), scene.claims["undo"].succeeded()]
    return lambda e: e.finish(*ends)


def cancel(engine: Engine) -> Call:
    scene = set_scene(engine)
    return lambda e: e.cancel(scene.most)


def cancel_with_an_ending(engine: Engine) -> Call:
    scene = begin(engine)
    engine.finish(scene.claims["did"].succeeded())
    # Once more, and it is over at once.
    return lambda e: None if e.rows("select 1 from workflow.endings") else e.cancel(scene.undone)


def retry(engine: Engine) -> Call:
    scene = set_scene(engine)
    engine.finish(scene.claims["in"].failed(), scene.claims["run"].failed())
    engine.finish(*(c.failed() for c in engine.claim() if c.step in ("each", "in")))
    engine.cancel(scene.most)
    return lambda e: e.retry(scene.most, force=True)


def retry_task(engine: Engine) -> Call:
    scene = set_scene(engine)
    engine.finish(scene.claims["run"].failed())
    return lambda e: e.retry_task(scene.claims["run"].task_id, 60)


def sweep(max_crashes: int) -> Callable[[Engine], Call]:
    def prepare(engine: Engine) -> Call:
        set_scene(engine)

        def call(e: Engine) -> object:
            e.set_clock(EXPIRED)
            return e.sweep_expired_leases(max_crashes=max_crashes)

        return call

    return prepare


def complete_task(engine: Engine) -> Call:
    scene = set_scene(engine)
    return lambda e: e.complete_task(scene.claims["run"], {"rows": 1})


def signal_it(engine: Engine) -> Call:
    scene = set_scene(engine)
    return lambda e: e.signal(scene.most, "go", {"amount": 7}, key="once")


def answer(engine: Engine) -> Call:
    set_scene(engine)
    (approval,) = engine.rows("select id from workflow.approvals")
    return lambda e: e.answer(approval["id"], "approved")


def pause_workflow(engine: Engine) -> Call:
    scene = set_scene(engine)
    return lambda e: e.pause_workflow(scene.most)


def resume(engine: Engine) -> Call:
    set_scene(engine)
    engine.start("over")
    engine.pause()
    return lambda e: e.resume()


CALLS: dict[str, Callable[[Engine], Call]] = {
    "start": start,
    "turn": turn,
    "turn of failures": turn_of_failures,
    "cancel": cancel,
    "cancel with an ending": cancel_with_an_ending,
    "retry": retry,
    "retry of a task": retry_task,
    "sweep that recovers": sweep(10),
    "sweep that gives up": sweep(1),
    "transactional end": complete_task,
    "signal": signal_it,
    "answer": answer,
    "pause of a workflow": pause_workflow,
    "resume": resume,
}
BASIC = "start", "turn", "cancel", "retry", "sweep that gives up"


@pytest.fixture
def database(stepped_database: str) -> Iterator[str]:
    with Janitor(stepped_database) as janitor:
        yield stepped_database
        janitor.empty()


def content(engine: Engine) -> str:
    """A digest of all rows of all tables, but for those who registered."""
    tables = engine.rows(
        "select c.oid::regclass::text as name from pg_class c where c.relkind in ('r', 'p') and not c.relispartition"
        " and c.relname <> 'workers'"
        " and (c.relnamespace = 'workflow'::regnamespace or c.relname = 'procrastinate_jobs') order by 1"
    )
    parts = [f"(select string_agg(t::text, ',' order by t::text) from {row['name']} t)" for row in tables]
    return str(engine.value(f"select md5(concat_ws('|', {', '.join(parts)}))"))


def stops(engine: Engine, call: Call, number: int, how: How = "fail") -> bool:
    """Make a call that is to stop at one of its statements; False = it has not so many and was made."""
    stop_at(engine, number, how)
    try:
        call(engine)
    except psycopg.Error as error:
        if error.sqlstate != STOPPED and not (how == "die" and engine.connection.closed):
            raise
        return True
    return False


def count_of(engine: Engine, call: Call) -> int:
    """How many statements a call has, which is taken back."""
    stop_at(engine, 0)
    with engine.connection.transaction(force_rollback=True):
        call(engine)
        return steps_of(engine)


def spread(most: int, of: int) -> list[int]:
    """Up to so many of the numbers from 1, at equal distances."""
    return sorted({1 + (of - 1) * n // max(1, min(most, of) - 1) for n in range(min(most, of))})


def await_recovery(watcher: Engine) -> None:
    """Return when a session has found that the server ended it, and with it all others."""
    with pytest.raises(psycopg.OperationalError):
        eventually(lambda: watcher.value("select 0"), 30)


def connection_to(url: str) -> Connection:
    """Open a connection once the server has recovered."""

    def opened() -> list[Connection]:
        try:
            return [open_connection(url)]
        except psycopg.OperationalError:
            return []

    return eventually(opened, 30)[0]


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_is_stopped_behind_any_of_its_statements_leaves_nothing_and_can_be_made_again(
    engine: Engine, name: str
) -> None:
    call = CALLS[name](engine)
    assert_sound(engine)
    before, number = content(engine), 1
    while stops(engine, call, number):
        assert content(engine) == before, number
        number += 1
    assert number > 3, "it has statements"
    assert_sound(engine)
    after = content(engine)
    assert after != before

    stop_at(engine, 0)
    refused(lambda: call(engine))  # its answer was lost
    assert content(engine) == after


@pytest.mark.parametrize("name", BASIC)
def test_a_session_that_ends_within_a_call_leaves_nothing_and_others_can_make_it(
    engine: Engine, connect: Callable[[], Engine], name: str
) -> None:
    call = CALLS[name](engine)
    statements = count_of(engine, call)
    for number in spread(KILLS, statements):
        victim = connect()
        before = content(engine)
        assert stops(victim, call, number, "die")
        assert content(engine) == before
    call(engine)
    assert_sound(engine)


@pytest.fixture(scope="module")
def killable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server of our own, whose processes may be killed."""
    with Postgres(tmp_path_factory.mktemp("killable") / "data", settings={"fsync": "off"}) as postgres:
        migrate(postgres.url)
        with open_connection(postgres.url) as connection:
            install(connection)
        yield postgres.url


@pytest.mark.parametrize("name", BASIC)
@pytest.mark.timeout(120 if KILLS < 10 else 3600)
def test_a_server_process_that_is_killed_within_a_call_leaves_nothing(killable: str, name: str) -> None:
    with ExitStack() as opened, ThreadPoolExecutor(2) as threads:

        def connect() -> Engine:
            engine = Engine(connection_to(killable))
            opened.callback(engine.close)
            return engine

        engine = connect()
        call = CALLS[name](engine)
        statements, before = count_of(engine, call), content(engine)
        for number in spread(KILLS, statements):
            victim, watcher = connect(), connect()
            watcher.run("select pg_advisory_lock(%s)", victim.pid)
            stop_at(victim, number, "wait")
            dying = Pair(watcher, threads).begin(victim, call)
            os.kill(victim.pid, signal.SIGKILL)
            assert isinstance(dying.exception(timeout=30), psycopg.OperationalError)
            await_recovery(watcher)
            opened.close()
            engine = connect()
            assert content(engine) == before
            assert_sound(engine)
        print(f"killed at {len(spread(KILLS, statements))} of {statements} statements")
        call(engine)
        assert_sound(engine)
        with Janitor(killable) as janitor:
            janitor.empty()
