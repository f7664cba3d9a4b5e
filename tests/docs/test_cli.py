"""docs/cli.md names exactly the commands and options of the command line."""

import re
from pathlib import Path

import typer

from workflow_engine.cli import app

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def test_every_command_is_documented_with_its_options() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    exported = {
        name: {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        - {"--help"}
        for name, command in commands.items()
    }
    documented = {
        name: set(re.findall(r"`(--[a-z-]+)`", options))
        for name, options in re.findall(r"^\| `([a-z]+)` \|([^|]*)\|", PAGE, re.MULTILINE)
    }
    assert documented == exported
