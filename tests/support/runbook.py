"""The runbook's own commands, by their own comments; and the commands of a page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FILE = Path(__file__).parents[1] / "acceptance" / "runbook" / "commands.sh"


def _read() -> dict[str, str]:
    commands: dict[str, str] = {}
    for block in re.split(r"^## .*\n", _FILE.read_text(), flags=re.MULTILINE)[1:]:
        for comment, command in re.findall(r"^# (.+)\n((?:(?!#).+\n?)+)", block, re.MULTILINE):
            assert comment not in commands, f"two commands are called {comment!r}"
            commands[comment] = command.strip()
    return commands


COMMANDS = _read()
"""Text of each command, word for word, by the comment above it."""

_PARTS = r"^#+ ([^\n]+)$|^```([^\n]+)\n(.*?)^```$"


@dataclass(frozen=True)
class Block:
    """Commands between fences."""

    section: str
    info: str  # what follows the opening fence
    text: str

    @property
    def commands(self) -> list[str]:
        """Without comments, one for each line that is not continued."""
        bare = "\n".join(line for line in self.text.splitlines() if not line.startswith("#"))
        return [command.strip() for command in re.split(r"(?<!\\)\n(?!\s)", bare) if command.strip()]


def blocks(page: str) -> list[Block]:
    """Those of a page."""
    found: list[Block] = []
    section = ""
    for heading, info, text in re.findall(_PARTS, page, re.MULTILINE | re.DOTALL):
        if heading:
            section = heading
        else:
            found.append(Block(section, info, text))
    return found
