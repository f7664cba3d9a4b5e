"""The pages of the runbook, one for each alert: in the wheel, so that they are there without a network, too."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

_REPOSITORY = "https://gitlab.com/blueflyio/agent-platform/workflow-engine/-/blob/main"
_COMMAND = Markup(
    '<div class="code"><button type="button" class="quiet copy" data-copy="#command-{number}">Copy</button>'
    '<pre class="curl" tabindex="0" id="command-{number}" data-command>{text}</pre></div>'
)


def _directory() -> Path:
    """Inside the installed package, or in `deploy/` of a checkout."""
    packaged = Path(str(resources.files("workflow_engine"))) / "_runbooks"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "deploy" / "runbooks"


def runbook(name: str) -> Markup | None:
    """The page of an alert as HTML, without its title; None where there is none."""
    return _shown(name) if name in _names() else None


@cache
def _names() -> frozenset[str]:
    """Of all pages: whatever else is asked for is no name of a file, and nothing is kept of it."""
    return frozenset(file.stem for file in _directory().glob("*.md") if file.stem.isalnum())


@cache
def _shown(name: str) -> Markup:
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.add_render_rule("fence", _command)
    tokens = markdown.parse((_directory() / f"{name}.md").read_text())
    for token in tokens:
        for child in token.children or ():
            if child.type == "link_open":
                child.attrSet("href", _address(str(child.attrGet("href"))))
    # Text of ours, and what is markup in it is escaped all the same.
    return Markup(markdown.renderer.render(tokens[3:], markdown.options, {}))  # noqa: S704


def _address(href: str) -> str:
    """Pages of other alerts are beside this one; all else is where the project is."""
    if "/" not in href and href.endswith(".md"):
        return href.removesuffix(".md")
    return f"{_REPOSITORY}/{href.removeprefix('../../')}" if href.startswith("../../") else href


def _command(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return _COMMAND.format(number=index, text=tokens[index].content.rstrip("\n"))
