"""Lines about attempts: cheap, complete in tasks.log, bounded elsewhere."""

import json
import logging
import math
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.eventually import eventually
from support.logging import configured_logging

from workflow_engine.observability.log_files import open_log_files
from workflow_engine.observability.logs import get_logger
from workflow_engine.observability.output import LogFormat, Output
from workflow_engine.observability.transitions import ORDINARY_PER_SECOND, Transitions
from workflow_engine.records import Claim

WORKFLOW = "0198f3a2-7c1e-7000-8000-000000000001"


def claim(task_id: int = 65536, attempt: int = 1) -> Claim:
    return Claim(
        task_id=task_id,
        workflow_id=WORKFLOW,
        workflow_name="flow",
        workflow_version=1,
        version_id=1,
        step_index=0,
        attempt=attempt,
        tries=0,
        lease_token="token",
        wait_seconds=0.25,
        elapsed_seconds=0.0,
        timeout=None,
        timeout_is_override=False,
        labels={},
        workflow_started_at="2026-01-31T12:00:00Z",
        input=None,
        steps=None,
    )


@pytest.fixture(params=["logfmt", "json"])
def log_format(request: pytest.FixtureRequest) -> LogFormat:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def output(tmp_path: Path, log_format: LogFormat) -> Iterator[Output]:
    files = open_log_files(tmp_path, max_bytes=10_000_000, backups=1)
    output = Output(files, role="worker", log_format=log_format, level=logging.INFO, complain=lambda *_: "complaint")
    yield output
    output.close()


def fields(line: str, log_format: LogFormat) -> dict[str, str]:
    if log_format == "json":
        return {key: str(value) for key, value in json.loads(line).items()}
    return {key: quoted or plain for key, quoted, plain in re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))', line)}


def test_an_attempt_is_two_lines_in_every_place(
    tmp_path: Path, output: Output, log_format: LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    transitions = Transitions(output, "w 1")
    identity = transitions.picked_up(claim(), "fetch", "http")
    transitions.ended(identity, "succeeded", 0.5)
    transitions.close()

    told = (tmp_path / "tasks.log").read_text()
    assert told == (tmp_path / "worker.log").read_text() == capsys.readouterr().out
    begun, ended = (fields(line, log_format) for line in told.splitlines())
    names = {"workflow_id": WORKFLOW, "task_id": "65536", "step": "fetch", "type": "http", "attempt": "1"}
    common = {**names, "level": "info", "worker": "w 1", "role": "worker"}
    assert common.items() <= begun.items()
    assert common.items() <= ended.items()
    pair = f" workflow_id={WORKFLOW}" if log_format == "json" else ""
    assert (begun["msg"], float(begun["wait_seconds"])) == (f"task picked up{pair}", 0.25)
    assert (ended["msg"], ended["outcome"]) == (f"task succeeded{pair}", "succeeded")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", begun["time"])
    assert float(ended["seconds"]) == 0.5
    assert told.count(f"workflow_id={WORKFLOW}") == 2, "unquoted, for the runbook's grep"


def test_a_failure_says_why_with_the_runbooks_phrase(tmp_path: Path, output: Output, log_format: LogFormat) -> None:
    transitions = Transitions(output, "w")
    identity = transitions.picked_up(claim(attempt=3), "ask", "llm_inference")
    transitions.failed(
        identity,
        'Task exceeded maximum runtime of 60 seconds\n"x"',
        "retried",
        60.01,
        {"error_type": "timeout", "timeout": 60},
    )
    transitions.close()
    line = (tmp_path / "tasks.log").read_text().splitlines()[1]
    assert "Task exceeded maximum runtime of 60 seconds" in line
    told = fields(line, log_format)
    assert (told["level"], told["type"], told["timeout"]) == ("warning", "llm_inference", "60")
    assert (told["error_type"], told["outcome"], told["attempt"]) == ("timeout", "retried", "3")


def test_stdout_is_bounded_and_says_what_it_left_out_while_tasks_log_has_all(
    tmp_path: Path, output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0]
    transitions = Transitions(output, "w", now=lambda: clock[0])
    for number in range(1000):
        identity = transitions.picked_up(claim(number), "fetch", "http")
    transitions.failed(identity, "one failure", "failed", 1.0, {})
    # What is written after its second is over would be counted, and told, a second time.
    eventually(lambda: "one failure" in (tmp_path / "tasks.log").read_text())
    clock[0] = 1_000_000_000
    eventually(lambda: "task lines left out" in (tmp_path / "worker.log").read_text())
    transitions.close()
    told = capsys.readouterr().out
    assert told == (tmp_path / "worker.log").read_text()
    assert told.count("task picked up") == ORDINARY_PER_SECOND
    assert re.search(rf"count\W+{1000 - ORDINARY_PER_SECOND}\b", told)
    assert "one failure" in told, "failures have a bound of their own"
    assert (tmp_path / "tasks.log").read_text().count("task picked up") == 1000


def test_a_disk_that_hangs_costs_lines_and_no_memory(
    tmp_path: Path, output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflow_engine.observability.transitions._MOST_WAITING", 100)
    hangs, goes_on = threading.Event(), threading.Event()
    write = output.write_tasks

    def hang(lines: str) -> None:
        hangs.set()
        goes_on.wait(30)
        write(lines)

    monkeypatch.setattr(output, "write_tasks", hang)
    transitions = Transitions(output, "w")
    transitions.picked_up(claim(), "fetch", "http")
    assert hangs.wait(30)
    for number in range(1000):
        transitions.picked_up(claim(number), "fetch", "http")
    goes_on.set()
    transitions.close()
    assert (tmp_path / "tasks.log").read_text().count("task picked up") == 101
    assert re.search(r"task lines lost, writing them hangs\W+count\W+900\b", (tmp_path / "worker.log").read_text())


def test_after_a_pause_a_line_is_written_at_once(tmp_path: Path, output: Output) -> None:
    transitions = Transitions(output, "w")
    transitions.picked_up(claim(), "fetch", "http")
    eventually((tmp_path / "tasks.log").read_text)
    transitions.close()


@pytest.mark.parametrize("log_format", ["logfmt"], indirect=True)
def test_a_higher_level_silences_stdout_but_not_tasks_log(tmp_path: Path, log_format: LogFormat) -> None:
    files = open_log_files(tmp_path, max_bytes=10_000_000, backups=1)
    output = Output(files, role="worker", log_format=log_format, level=logging.WARNING, complain=lambda *_: "")
    transitions = Transitions(output, "w")
    identity = transitions.picked_up(claim(), "fetch", "http")
    transitions.failed(identity, "broken", "failed", 1.0, {})
    transitions.close()
    assert len((tmp_path / "tasks.log").read_text().splitlines()) == 2
    assert "task picked up" not in (tmp_path / "worker.log").read_text()
    assert "broken" in (tmp_path / "worker.log").read_text()


def test_both_lines_of_an_attempt_cost_less_than_one_of_the_general_kind(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    attempts = [claim(number) for number in range(3000)]

    def told_by_transitions() -> None:
        transitions = Transitions(output, "w")
        for attempt in attempts:
            transitions.ended(transitions.picked_up(attempt, "fetch", "http"), "succeeded", 0.001)
        transitions.close()

    def told_by_structlog() -> None:
        with configured_logging("worker"):
            log = get_logger("worker")
            for attempt in attempts:
                log.info("task picked up", workflow_id=attempt.workflow_id, task_id=attempt.task_id, step="fetch")

    # On a machine that does much else any one may be dear; the best of some are what it costs.
    costs = dict.fromkeys(("told_by_transitions", "told_by_structlog"), math.inf)
    for _ in range(10):
        for told in (told_by_transitions, told_by_structlog):
            began = time.process_time()
            told()
            costs[told.__name__] = min(costs[told.__name__], time.process_time() - began)
        if costs["told_by_transitions"] < costs["told_by_structlog"]:
            return
    raise AssertionError(costs)
