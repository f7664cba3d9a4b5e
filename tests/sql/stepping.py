"""Stops calls inside the database, between any two of their statements.

`install` puts a probe behind every statement of the functions that change something: that needs a database of its own.
A session then says with `stop_at` at which of them to stop, and how: to fail, as whatever ends the session does to its
transaction, or to wait for a lock that another session has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal

import psycopg
from psycopg import sql
from support.eventually import eventually

from .connections import Connection
from .engine import Engine

How = Literal["fail", "die", "wait"]
STOPPED = "ST001"

_PROBES = f"""
    create schema stepping;
    create function stepping.step() returns boolean language plpgsql volatile as $$
    declare
        v_at integer := current_setting('stepping.at')::integer + 1;
    begin
        perform set_config('stepping.at', v_at::text, false);
        if v_at = current_setting('stepping.stop')::integer then
            case current_setting('stepping.how')
                when 'fail' then
                    raise exception 'stopped' using errcode = '{STOPPED}';
                when 'die' then
                    perform pg_terminate_backend(pg_backend_pid()), pg_sleep(10);
                else
                    perform pg_advisory_lock(pg_backend_pid());
                    perform pg_advisory_unlock(pg_backend_pid());
            end case;
        end if;
        return false;
    end $$;
"""
_FUNCTIONS = """
    select p.oid, pg_get_functiondef(p.oid) as text, p.prosrc as body
    from pg_proc p join pg_language l on l.oid = p.prolang
    where p.pronamespace = 'workflow'::regnamespace and l.lanname = 'plpgsql' and p.provolatile = 'v'
"""
# What a semicolon or a keyword in it means nothing, then what is looked for.
_TOKENS = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/|(?P<begin>\bbegin\b)|(?P<end>;)", re.DOTALL | re.IGNORECASE)


def with_probes(body: str) -> str:
    """The body of a PL/pgSQL function with a call of the probe behind each of its statements."""
    begun, parts, done = False, [], 0
    for token in _TOKENS.finditer(body):
        begun = begun or bool(token["begin"])
        if begun and token["end"] and body[token.end() :].strip():
            # Not `perform`, which changes what `found` and the number of rows are.
            parts += [body[done : token.end()], " if stepping.step() then end if;"]
            done = token.end()
    return "".join([*parts, body[done:]])


def install(connection: Connection) -> None:
    """Put the probes into a database."""
    connection.execute(_PROBES.encode())
    for name, value in (("at", "0"), ("stop", "0"), ("how", "fail")):
        connection.execute(
            sql.SQL("alter database {} set {} = {}").format(
                sql.Identifier(connection.info.dbname), sql.Identifier("stepping", name), sql.Literal(value)
            )
        )
    for function in connection.execute(_FUNCTIONS).fetchall():
        text: str = function["text"]
        assert text.count(function["body"]) == 1
        connection.execute(text.replace(function["body"], with_probes(function["body"])).encode())


def stop_at(engine: Engine, number: int, how: How = "fail") -> None:
    """Stop the next call of a session at its so many-th statement; 0 = nowhere."""
    engine.run(
        "select set_config('stepping.at', '0', false), set_config('stepping.stop', %s, false),"
        " set_config('stepping.how', %s, false)",
        str(number),
        how,
    )


def steps_of(engine: Engine) -> int:
    """How many statements the last call had that was not stopped."""
    return int(engine.value("select current_setting('stepping.at')::integer"))


class Pair:
    """Two sessions that are held between their statements by a third.

    Args:
        watcher: Holds the locks at which the others stop.
        threads: At least two.
    """

    def __init__(self, watcher: Engine, threads: ThreadPoolExecutor) -> None:
        self._watcher = watcher
        self._threads = threads

    @contextmanager
    def held(self, engine: Engine, number: int) -> Iterator[None]:
        """Inside, what the session does stops at its so many-th statement."""
        self._watcher.run("select pg_advisory_lock(%s)", engine.pid)
        stop_at(engine, number, "wait")
        try:
            yield
        finally:
            self._watcher.run("select pg_advisory_unlock(%s)", engine.pid)

    def begin(self, engine: Engine, call: Callable[[Engine], Any]) -> Future[Any]:
        """Make a call; returns when it is over or waits, for us or for another session."""
        future = self._threads.submit(call, engine)
        self.pass_on(engine, future)
        return future

    def pass_on(self, engine: Engine, future: Future[Any]) -> None:
        """Return when a call is over or waits."""
        eventually(
            lambda: future.done() or self._watcher.value("select cardinality(pg_blocking_pids(%s)) > 0", engine.pid)
        )


def refused(call: Callable[[], Any]) -> str | None:
    """Make a call; the SQLSTATE with which it was refused, None if it was not."""
    try:
        call()
    except psycopg.Error as error:
        if not (error.sqlstate or "").startswith("WF"):
            raise
        return error.sqlstate
    return None
