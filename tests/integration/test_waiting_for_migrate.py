"""`migrate --wait`: a new version begins when the database is ready for it, and is not held up by a newer one."""

import os
from pathlib import Path

import psycopg
from support.processes import EngineProcess

from workflow_engine.bootstrap import migrate, wait_until_migrated
from workflow_engine.store.migrate import CURRENT


def test_it_waits_for_postgres_and_for_the_tables_and_then_ends(empty_database_url: str, tmp_path: Path) -> None:
    def waiting(url: str, log: str) -> EngineProcess:
        return EngineProcess("migrate", "--wait", env={**os.environ, "DATABASE_URL": url}, log=tmp_path / log)

    nowhere = waiting("postgresql://nobody@127.0.0.1:1/none", "nowhere.log")
    empty = waiting(empty_database_url, "empty.log")
    nowhere.says("Waiting for: Postgres (")
    empty.says("Waiting for: everything")
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("select to_regnamespace('workflow') is null").fetchone() == (True,), (
            "it changes nothing"
        )

    migrate(empty_database_url)

    assert empty.wait(30) == 0
    assert empty.output.endswith("The database is up to date.\n")
    assert nowhere.alive
    nowhere.kill()


def test_it_names_what_is_not_applied(database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        taken = connection.execute(
            "delete from workflow.migrations where name = (select max(name) from workflow.migrations"
            " where name ~ '^[0-9]') returning name, checksum"
        ).fetchone()
        assert taken
        waiting = EngineProcess(
            "migrate", "--wait", env={**os.environ, "DATABASE_URL": database_url}, log=tmp_path / "log"
        )
        waiting.says(f"Waiting for: {taken[0]}")
        connection.execute("insert into workflow.migrations values (%s, %s)", taken)

    assert waiting.wait(30) == 0


def test_functions_of_another_version_are_waited_for_briefly(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("update workflow.migrations set checksum = 'of a newer version' where name = %s", [CURRENT])
    said: list[str] = []

    wait_until_migrated(database_url, say=said.append, patience=0.01)

    assert said == [
        f"Waiting for: {CURRENT}",
        "Functions and views are those of another version, which is taken to be newer: going on.",
    ]
