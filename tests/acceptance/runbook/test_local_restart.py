"""Restarting on one machine: what rows J02 and J03 need. J01 needs containers (see `test_rows`)."""

import json
from pathlib import Path

import psutil
from support.stack import Stack

_ROOT = Path(__file__).parents[3]


def test_j02_a_worker_is_one_command_and_the_page_says_which(stack: Stack) -> None:
    for pid in stack.pids("workers"):
        assert "workflow-engine worker" in " ".join(psutil.Process(pid).cmdline())


def test_j03_pkill_finds_every_process_of_ours_and_npm_starts_them_again(stack: Stack) -> None:
    found = {int(pid) for pid in stack.shell("pgrep -f workflow-engine").out.split()}
    assert {*stack.pids("engines"), *stack.pids("workers")} <= found
    package = json.loads((_ROOT / "package.json").read_text())
    assert package["scripts"] == {"start:workflow": ".venv/bin/workflow-engine dev"}
