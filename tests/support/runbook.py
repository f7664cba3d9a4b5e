"""The runbook's own commands, by their own comments."""

from __future__ import annotations

import re
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
