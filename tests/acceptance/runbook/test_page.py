"""docs/runbook.md: every command block on it works, and each of the runbook's own commands is tried somewhere."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from support.documents import flow, step
from support.eventually import eventually
from support.runbook import COMMANDS, Block, blocks
from support.stack import Stack

_ROOT = Path(__file__).parents[3]
PAGE = (_ROOT / "docs" / "runbook.md").read_text()
ENDLESS = 124  # the exit code of timeout(1)


BLOCKS = blocks(PAGE)
ELSEWHERE = {line for command in COMMANDS.values() for line in Block("", "", command).commands}
"""Commands that rows run word for word."""


def failed(stack: Stack) -> str:
    workflow = stack.start(flow("page", step("a"), {"id": "f", "type": "fail", "depends_on": ["a"]}))
    assert stack.await_end(workflow) == "failed"
    return workflow


def running(stack: Stack) -> str:
    lock = {"key": "page", "scope": "workflow"}
    workflow = stack.start(flow("page-running", {**step("a", type="gated", gate="/nowhere"), "locks": [lock]}))
    eventually(lambda: stack.status(workflow) == "running")
    eventually(lambda: stack.shell('redis-cli -p 6379 exists "workflow:lock:{workflow_id}"', workflow_id=workflow).out)
    return workflow


def pending_with_a_newer_version(stack: Stack) -> str:
    workflow = stack.start(flow("page-versions", {**step("a"), "queue": "nobody-serves-this"}))
    stack.await_end(stack.start(flow("page-versions", {"id": "only", "type": "noop"})))
    return workflow


def workflow_for(block: Block, stack: Stack) -> str:
    """A workflow of the kind that an operator has at hand."""
    if "/cancel" in block.text or block.section.startswith("Issue 3"):
        return running(stack)
    if block.section.startswith("Issue 5"):
        return pending_with_a_newer_version(stack)
    return failed(stack)


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.info == "sh"], ids=lambda b: f"{b.section}: {b.commands[0][:60]}"
)
def test_q02_every_block_of_the_page_runs(stack: Stack, block: Block) -> None:
    if set(block.commands) <= ELSEWHERE and any("kubectl" in command for command in block.commands):
        return  # a row runs it word for word, and replacing processes takes its time
    workflow = workflow_for(block, stack)
    (task,) = stack.rows(
        "select id::text from workflow.tasks where workflow_id = %s order by status <> 'failed', id limit 1", workflow
    )
    text, code = block.text, 0
    if " -f " in text:
        text, code = f"timeout 2 {text}", ENDLESS
    shown = stack.shell(text, code=code, strict=True, workflow_id=workflow, task_id=task["id"])
    assert shown.out or ">" in text
    with suppress(AssertionError):  # it may have ended
        stack.post(f"/workflows/{workflow}/cancel")
    stack.shell(COMMANDS["Increase timeout for specific task type"].replace(": 300", ": null"))


def test_q02_blocks_for_a_cluster_are_the_known_ones() -> None:
    assert {block.info for block in BLOCKS} == {"sh", "sh on-a-cluster"}
    assert [block.commands[0].split()[1] for block in BLOCKS if block.info == "sh on-a-cluster"] == [
        "autoscale",
        "apply",
    ]


def test_q02_each_command_of_the_runbook_is_run_by_a_row_or_a_drill() -> None:
    sources = [*Path(__file__).parent.glob("test_*.py"), *(_ROOT / "drills").glob("*.py")]
    text = "\n".join(source.read_text() for source in sources)
    assert [comment for comment in COMMANDS if f'"{comment}"' not in text] == []


def test_q02_links_within_the_docs_lead_somewhere() -> None:
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        page, _, anchor = target.partition("#")
        if page.startswith("http"):
            continue
        assert not page or (_ROOT / "docs" / page).exists(), target
        assert page or anchor in anchors, target
