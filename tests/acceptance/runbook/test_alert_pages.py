"""deploy/runbooks: every command block on the pages of alerts works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.documents import flow, step
from support.runbook import COMMANDS, Block, blocks
from support.stack import Stack

_ROOT = Path(__file__).parents[3]
PAGES = sorted((_ROOT / "deploy" / "runbooks").glob("*.md"))
RUNBOOK = blocks((_ROOT / "docs" / "runbook.md").read_text())
ELSEWHERE = {
    line
    for block in [*RUNBOOK, *(Block("", "", command) for command in COMMANDS.values())]
    for line in block.commands
    if "kubectl" in line
}
"""Commands that replace processes, which takes its time, and that rows run word for word."""


def new_blocks() -> Iterator[tuple[str, Block]]:
    seen = set(ELSEWHERE)
    for page in PAGES:
        for block in blocks(page.read_text()):
            if block.info in {"sh", "sql"} and not set(block.commands) <= seen:
                seen.update(block.commands)
                yield page.stem, block


BLOCKS = list(new_blocks())


@pytest.mark.parametrize(
    "block", [block for _, block in BLOCKS], ids=[f"{page}: {b.commands[0]}" for page, b in BLOCKS]
)
def test_q03_every_block_of_the_pages_runs(stack: Stack, block: Block) -> None:
    if block.info == "sql":
        for statement in block.text.split(";\n"):
            if statement.strip():
                stack.rows(statement.replace("%", "%%"))
        return
    workflow = stack.start(flow("page", step("a"), {"id": "f", "type": "fail", "depends_on": ["a"]}))
    assert stack.await_end(workflow) == "failed"
    assert stack.shell(block.text, strict=True, workflow_id=workflow).out
    stack.shell(COMMANDS["Increase timeout for specific task type"].replace(": 300", ": null"))


def test_q03_pages_have_commands_of_known_kinds_alone() -> None:
    kinds = {block.info for page in PAGES for block in blocks(page.read_text())}
    assert kinds == {"sh", "sql", "sh on-a-cluster"}
