"""`workflow-engine token` and `--token`: keys are made, listed, rotated and ended by commands."""

from __future__ import annotations

import re
import subprocess
import sys

import psycopg
import pytest
from typer.testing import CliRunner, Result

from workflow_engine.access import read_key
from workflow_engine.cli import app, main


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("DATABASE_URL", database_url)
    return CliRunner()


def token(run: CliRunner, *arguments: str, code: int = 0) -> Result:
    result = run.invoke(app, ["token", *arguments])
    assert result.exit_code == code, result.output
    return result


def listed(run: CliRunner, *arguments: str) -> list[list[str]]:
    lines = token(run, "list", *arguments).stdout.splitlines()
    return [re.split(r"\s{2,}", line) for line in lines[1:]]


def test_a_key_is_printed_once_alone_on_standard_output_and_only_its_proof_is_kept(
    run: CliRunner, database_url: str
) -> None:
    assert "There are no keys" in token(run, "list").stderr
    made = token(run, "create", "--role", "viewer", "--role", "operator", "--name", "ann", "--group", "finance",
                 "--expires", "90d")  # fmt: skip
    text = made.stdout.removesuffix("\n")
    shown = read_key(text)
    assert shown is not None
    assert f"The key {shown.id} of ann (operator, viewer) expires on 20" in made.stderr
    assert text not in made.stderr
    ((id, name, roles, groups, _, expires, used, status),) = listed(run)
    assert (id, name, roles, groups, used, status) == (
        shown.id, "ann", "operator,viewer", "finance", "never", "active",
    )  # fmt: skip
    assert expires.startswith("20")
    with psycopg.connect(database_url) as connection:
        (row,) = connection.execute("select k::text, k.hash from workflow.api_keys k").fetchall()
        (audited,) = connection.execute("select operation, key_id from workflow.audit").fetchall()
    assert text.rpartition("_")[2] not in row[0]
    assert row[1] == shown.hash
    assert audited == ("key_created", shown.id)


def test_a_key_is_rotated_and_revoked(run: CliRunner) -> None:
    first = read_key(token(run, "create", "--role", "author", "--name", "ci").stdout.strip())
    assert first
    rotated = token(run, "rotate", first.id, "--overlap", "1h")
    second = read_key(rotated.stdout.strip())
    assert second
    assert f"The key {first.id} is still good for 1h." in rotated.stderr
    assert [(row[0], row[2], row[5] == "never") for row in listed(run)] == [
        (first.id, "author", False),
        (second.id, "author", True),
    ]
    assert token(run, "revoke", first.id).stdout == f"Revoked {first.id}.\n"
    assert [row[0] for row in listed(run)] == [second.id]
    assert [row[7] for row in listed(run, "--all")] == ["revoked", "active"]
    token(run, "revoke", "ci")
    assert token(run, "revoke", "ci", code=1).exception is not None
    assert token(run, "rotate", first.id, code=1).exception is not None


@pytest.mark.parametrize(
    "wrong",
    [
        ["--role", "root", "--name", "ann"],
        ["--role", "viewer", "--name", "a b"],
        ["--role", "viewer", "--name", ""],
        ["--role", "viewer"],
        ["--name", "ann"],
        ["--role", "viewer", "--name", "ann", "--expires", "soon"],
        ["--role", "viewer", "--name", "ann", "--expires", "0"],
        ["--role", "viewer", "--name", "ann", "--group", "a\nb"],
    ],
    ids=" ".join,
)
def test_what_makes_no_key_is_a_usage_error(run: CliRunner, wrong: list[str]) -> None:
    token(run, "create", *wrong, code=2)


def test_before_migrate_the_command_says_so(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    monkeypatch.setattr(sys, "argv", ["workflow-engine", "token", "list"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "workflow-engine migrate" in capsys.readouterr().err


def test_what_is_no_key_is_not_sent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["workflow-engine", "logs", "x", "--token", "wfk_short"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "is no key" in capsys.readouterr().err


def test_an_engine_in_production_exits_with_2_until_it_is_told_whether_keys_are_needed() -> None:
    command = [sys.executable, "-m", "workflow_engine.cli", "serve"]
    ended = subprocess.run(
        command, env={"WORKFLOW_ENV": "production", "LOG_DIR": "off"}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "WORKFLOW_AUTH" in ended.stderr
    assert "token create" in ended.stderr
