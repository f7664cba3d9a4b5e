"""docs/cli.md names exactly the commands and options of the command line."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from workflow_engine.cli import app

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def commands_of(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{before}{name} ")
        else:
            yield before + name, command


def test_every_command_is_documented_with_its_options() -> None:
    exported = {
        name: {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        - {"--help"}
        for name, command in commands_of(typer.main.get_command(app))
    }
    documented = {
        name: set(re.findall(r"`(--[a-z-]+)`", options))
        for name, options in re.findall(r"^\| `([a-z ]+)` \|([^|]*)\|", PAGE, re.MULTILINE)
    }
    assert documented == exported
