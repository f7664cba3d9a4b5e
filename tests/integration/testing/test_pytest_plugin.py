"""The fixture `try_definition`, as somebody uses it who has the package installed: pytest in a directory of its own."""

import os
import subprocess
import sys

CONFTEST = 'pytest_plugins = ["workflow_engine.pytest_plugin"]'
TESTS = """
import pytest
from workflow_engine.errors import DefinitionInvalid

STEPS = [{"id": "charge", "type": "payment", "retries": {"max_attempts": 2, "initial_delay": "30s"}}]


def test_a_payment_is_tried_again(try_definition):
    result = try_definition({"name": "order", "steps": STEPS}, outputs={"charge": [{"error": "timeout"}, "paid"]})
    assert result.status == "succeeded"
    assert result.task("charge").attempt == 2
    assert result.duration == 30


def test_a_file_may_be_named(try_definition, tmp_path):
    (tmp_path / "order.yaml").write_text("name: order\\nsteps: [{id: a, type: mine}]")
    assert try_definition(tmp_path / "order.yaml", outputs={"a": 1}).output == {"a": 1}


async def within_a_loop(try_definition):
    return try_definition({"name": "order", "steps": STEPS}, outputs={"charge": 1}).statuses


def test_it_works_where_a_loop_runs(try_definition):
    import asyncio
    assert asyncio.run(within_a_loop(try_definition)) == {"charge": "succeeded"}


def test_a_bad_definition_is_refused(try_definition):
    with pytest.raises(DefinitionInvalid, match="/steps"):
        try_definition({"name": "order", "steps": []})
"""


def run(directory, **environment):
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "test_order.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:valkey", "-p", "no:randomly", "-p", "no:cacheprovider"]
    known = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "PYTEST_ADDOPTS")}
    return subprocess.run(
        command, check=False, cwd=directory, env={**known, **environment}, capture_output=True, text=True, timeout=120
    )


def test_the_fixture_runs_definitions_on_the_given_database(tmp_path, database_url):
    ran = run(tmp_path, DATABASE_URL=database_url)
    assert "4 passed" in ran.stdout, ran.stdout + ran.stderr


def test_a_database_without_the_engine_is_told(tmp_path, empty_database_url):
    ran = run(tmp_path, DATABASE_URL=empty_database_url)
    assert "workflow-engine migrate" in ran.stdout, ran.stdout + ran.stderr
