"""One record is one line, whatever is in it."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import subprocess
import sys
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.logging import configured_logging

from workflow_engine.observability.logs import configure_logging, get_logger
from workflow_engine.settings import load_settings


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    with configured_logging():
        yield


def _configure(log_format: str = "logfmt", level: str = "info", directory: str = "off", role: str = "engine") -> None:
    configure_logging(load_settings(LOG_FORMAT=log_format, LOG_LEVEL=level, LOG_DIR=directory), role=role)


@pytest.mark.parametrize("log_format", ["logfmt", "json"])
def test_a_line_about_a_workflow_has_the_unquoted_pair_that_the_runbook_greps_for(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _configure(log_format)
    workflow_id = uuid.uuid4()

    get_logger("test").info("task picked up", workflow_id=workflow_id, task_id=7)

    assert re.search(rf"\bworkflow_id={workflow_id}\b", capsys.readouterr().out)


def test_logfmt_starts_with_utc_time_level_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    _configure()

    get_logger("test").warning("two words", ready=True, wait_s=0.25, nothing=None)

    line = capsys.readouterr().out
    assert re.match(r'time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z level=warning msg="two words" ', line)
    assert " ready=true wait_s=0.25 role=engine" in line.replace(" module=test", "")
    assert "nothing" not in line


@pytest.mark.parametrize("log_format", ["logfmt", "json"])
@pytest.mark.parametrize(
    "value",
    [
        pytest.param("two\nlines", id="newline"),
        pytest.param("\r\n\x1b[31mred", id="ansi"),
        pytest.param("a\u2028b", id="line-separator"),
        pytest.param("\x85", id="next-line"),
        pytest.param("\u202ereversed", id="right-to-left"),
        pytest.param('quote " equals = back \\', id="quotes"),
        pytest.param("\ud800", id="surrogate"),
        pytest.param("", id="empty"),
        pytest.param(2**70, id="huge-integer"),
    ],
)
def test_a_record_is_one_printable_line(log_format: str, value: object, capsys: pytest.CaptureFixture[str]) -> None:
    _configure(log_format)

    get_logger("test").info(f"message {value}", value=value, nested={"value": value})

    line = capsys.readouterr().out
    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", line)
    if log_format == "json":
        assert json.loads(line)["value"] == value


def test_libraries_and_tracebacks_come_in_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    _configure("json")

    try:
        raise ValueError("first line\nsecond line")
    except ValueError:
        logging.getLogger("psycopg.pool").exception("error connecting in %r", "pool-1")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("careful", UserWarning, stacklevel=1)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["level"] for line in lines] == ["error", "warning"]
    assert lines[0]["msg"] == "error connecting in 'pool-1'"
    assert lines[0]["module"] == "psycopg.pool"
    assert "ValueError: first line\nsecond line" in lines[0]["exception"]
    assert "careful" in lines[1]["msg"]


def test_no_line_tells_a_secret_of_the_process(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "MOUNTED").write_text("mounted-s3cret\n")
    monkeypatch.setenv("WORKFLOW_SECRET_GIVEN", "given-s3cret")
    monkeypatch.setenv("WORKFLOW_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("WORKFLOW_LLM_API_KEY", "model-s3cret")
    monkeypatch.setenv("WORKFLOW_MCP_SERVERS", '{"a": {"url": "http://a", "headers": {"X-Key": "Bearer tool-s3cret"}}}')
    _configure()
    get_logger("test").info("mounted-s3cret", a="given-s3cret", b={"c": ["model-s3cret"]}, token="any")
    try:
        raise ValueError("tool-s3cret")
    except ValueError:
        logging.getLogger("some.library").exception("broke with %s", "postgresql://me:hunter2@db/x")
    out = capsys.readouterr().out
    assert out.count("***") == 7
    assert "s3cret" not in out
    assert "hunter2" not in out
    assert "token=***" in out


def test_the_level_is_obeyed_by_ours_and_by_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    _configure(level="warning")

    get_logger("test").info("no")
    logging.getLogger("some.library").info("no")
    get_logger("test").warning("yes")
    logging.getLogger("some.library").warning("yes")
    logging.getLogger("httpx").warning("yes")

    out = capsys.readouterr().out
    assert out.count("msg=yes") == 3
    assert "msg=no" not in out


def test_a_huge_value_is_clipped(capsys: pytest.CaptureFixture[str]) -> None:
    _configure()

    get_logger("test").info("big", value="x" * 1_000_000)

    assert len(capsys.readouterr().out) < 10_000


@pytest.mark.parametrize(("role", "name"), [("engine", "app.log"), ("worker", "worker.log")])
def test_the_file_of_a_role_gets_what_stdout_gets(
    role: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _configure(directory=str(tmp_path / "logs"), role=role)

    get_logger("test").info("ours")
    logging.getLogger("some.library").warning("theirs")

    told = (tmp_path / "logs" / name).read_text()
    assert told == capsys.readouterr().out
    assert told.count("\n") == 2
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["app.log", "tasks.log", "worker.log"]


def test_a_directory_that_cannot_be_used_is_one_warning_and_stdout_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    _configure(directory=str(tmp_path / "file" / "logs"))

    get_logger("test").info("works")

    warning, line = capsys.readouterr().out.splitlines()
    assert 'level=warning msg="no log files, stdout only"' in warning
    assert str(tmp_path / "file" / "logs") in warning
    assert "LOG_DIR" in warning
    assert "msg=works" in line


def test_a_disk_that_fills_up_is_told_once_and_so_is_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _configure(directory=str(tmp_path))
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "write", full)
    get_logger("test").info("first")
    get_logger("test").info("second")
    monkeypatch.setattr(os, "write", write)
    get_logger("test").info("third")

    out = capsys.readouterr().out
    assert out.count("log file cannot be written, lines are on stdout only") == 1
    assert out.count("log file is written again") == 1
    assert [f"msg={word}" in out for word in ("first", "second", "third")] == [True] * 3
    assert "msg=third" in (tmp_path / "app.log").read_text()


def test_a_stdout_that_is_the_file_itself_gets_no_line_twice(tmp_path: Path) -> None:
    program = (
        "from workflow_engine.observability.logs import configure_logging, get_logger\n"
        "from workflow_engine.settings import load_settings\n"
        "configure_logging(load_settings(), role='worker')\n"
        "get_logger('test').info('once')\n"
        "raise SystemExit('a crash')\n"
    )
    with (tmp_path / "worker.log").open("ab") as stdout:
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "LOG_DIR": str(tmp_path)}, stdout=stdout, stderr=stdout, check=False,
        )  # fmt: skip
    told = (tmp_path / "worker.log").read_text()
    assert told.count("msg=once") == 1
    assert told.endswith("a crash\n")
