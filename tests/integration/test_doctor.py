"""`workflow-engine doctor` says what is wrong, and what to do about it."""

import json

import psycopg
import pytest
from support.collector import Collector
from support.processes import run_engine

from workflow_engine.embedded.places import free_port
from workflow_engine.store.server_settings import unsafe_settings

NOWHERE = "http://127.0.0.1:9"
SAFE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "autovacuum": "on", "track_counts": "on"}


def examined(**environment: str) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit code, and the worst finding of each name."""
    done = run_engine("doctor", "--json", AGENT_MESH_URL=NOWHERE, AGENT_BRAIN_URL=NOWHERE, **environment)
    assert "Traceback" not in done.stderr, done.stderr
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, {one["name"]: one for one in sorted(findings, key=lambda one: one["level"] != "ok")}


def test_it_finds_what_is_missing_and_says_what_to_do(database_url: str, redis_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("delete from workflow.migrations where name = '0024_turns'")
        code, found = examined(DATABASE_URL=database_url, REDIS_URL=redis_url)
        assert code == 1
        assert found["postgres"]["level"] == "ok"
        assert (found["schema"]["level"], found["schema"]["fix"]) == ("fail", "run `workflow-engine migrate`")
        assert "0024_turns" in found["schema"]["text"]

        connection.execute("insert into workflow.migrations (name, checksum) values ('0024_turns', '')")
        code, found = examined(DATABASE_URL=database_url, REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert code == 1
    assert {name: one["level"] for name, one in found.items() if name != "invariants"} == {
        "postgres": "ok",
        # Tests do without it.
        "fsync": "fail",
        "full_page_writes": "fail",
        "schema": "ok",
        "workers": "ok",
        "leader": "fail",
        "redis": "warn",
        "agent mesh": "warn",
        "agent brain": "warn",
    }
    assert found.get("invariants", {}).get("level", "ok") == "ok"
    assert all("fix" in one for one in found.values() if one["level"] != "ok")


def test_a_database_that_is_away_is_told_for_people_and_by_the_exit_code() -> None:
    done = run_engine(
        "doctor", DATABASE_URL="postgresql://nobody@127.0.0.1:9/none", AGENT_MESH_URL=NOWHERE, AGENT_BRAIN_URL=NOWHERE,
        REDIS_URL=f"redis://127.0.0.1:{free_port()}/0",
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.startswith("fail  postgres")
    assert "-> check DATABASE_URL" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "breaks"),
    [
        ("fsync", "off", True),
        ("full_page_writes", "off", True),
        ("synchronous_commit", "off", True),
        ("autovacuum", "off", False),
        ("track_counts", "off", False),
        ("transaction_timeout", "5000", False),
        ("default_transaction_isolation", "serializable", False),
    ],
)
def test_a_setting_of_postgres_that_does_not_go_with_the_engine_is_named_with_its_cure(
    name: str, value: str, breaks: bool
) -> None:
    assert unsafe_settings(SAFE) == []
    (unsafe,) = unsafe_settings({**SAFE, name: value})
    assert (unsafe.name, unsafe.breaks) == (name, breaks)
    assert unsafe.why
    assert unsafe.fix


def test_it_asks_the_collector_where_traces_are_sent(database_url: str, redis_url: str) -> None:
    servers = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    with Collector() as collector:
        _, found = examined(**servers, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        assert found["traces"] == {"level": "ok", "name": "traces", "text": "the collector takes spans"}
        collector.status = 401
        _, found = examined(**servers, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        assert (found["traces"]["level"], collector.url in found["traces"]["text"]) == ("warn", True)
    assert collector.spans == []
