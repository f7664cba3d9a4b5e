"""The command line itself: quick help, and wrong settings told before anything starts."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import run_engine


def test_help_names_every_command() -> None:
    answer = run_engine("--help")
    assert answer.returncode == 0
    for command in ("migrate", "serve", "worker", "dev", "demo", "drain"):
        assert command in answer.stdout


@pytest.mark.parametrize("command", ["migrate", "serve", "worker", "dev", "demo", "drain"])
def test_a_wrong_setting_ends_every_command_with_exit_code_2_and_its_name(command: str) -> None:
    answer = run_engine(command, LOG_FORMAT="xml")
    assert answer.returncode == 2
    assert "LOG_FORMAT='xml'" in answer.stderr
    assert "'logfmt' or 'json'" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_wrong_setting_is_told_in_our_words() -> None:
    answer = run_engine("worker", MEMORY_PROFILER="maybe")
    assert "MEMORY_PROFILER='maybe': must be true or false" in answer.stderr


def test_a_flag_beats_the_environment_and_is_checked_like_it() -> None:
    answer = run_engine("worker", "--concurrency", "0", WORKER_CONCURRENCY="5")
    assert answer.returncode == 2
    assert "WORKER_CONCURRENCY='0'" in answer.stderr or "WORKER_CONCURRENCY=0" in answer.stderr


def test_a_database_that_is_away_ends_migrate_with_exit_code_1_and_a_hint() -> None:
    answer = run_engine("migrate", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert answer.returncode == 1
    assert "Check DATABASE_URL" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_help_and_serve_never_load_the_embedded_stack() -> None:
    program = (
        "import sys, workflow_engine.cli\n"
        "heavy = {'workflow_engine.embedded', 'fastapi', 'psycopg', 'rich.live', 'pydantic', 'structlog'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_checking_a_file_loads_neither_the_server_nor_the_database_driver(tmp_path: Path) -> None:
    file = tmp_path / "definition.json"
    file.write_text('{"name": "quick", "steps": [{"id": "only", "type": "noop"}]}')
    program = (
        "import sys\n"
        "from workflow_engine.api.offline import check_file\n"
        f"checked = check_file(__import__('pathlib').Path({str(file)!r}), ())\n"
        "heavy = {'fastapi', 'psycopg', 'structlog', 'croniter', 'redis'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy or not checked.accepted else 0)\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
