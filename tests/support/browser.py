"""A browser for the pages, and what must never happen on one of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

expect.set_options(timeout=30_000)
# The first is the same engine without a desktop's window: a page of it opens for a quarter of the work.
_CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium, that of the system. No longer than a file: where Playwright runs, no other event loop can."""
    found = next((path for name in _CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        raise RuntimeError("Pages are tried in a real browser: apt-get install chromium-headless-shell")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


def serious(page: Page, *rules: str) -> list[tuple[str, str]]:
    """What axe finds on a page that keeps somebody from using it: by all its rules, or these."""
    # All that is as it should be would be told as well, and that is most of what asking costs.
    asked = {"resultTypes": ["violations"], **({"runOnly": {"type": "rule", "values": list(rules)}} if rules else {})}
    return [
        (one["id"], one["nodes"][0]["html"][:200])
        for one in Axe().run(page, options=asked).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]


class Visitor:
    """Opens pages of one engine, and notes what goes wrong on any.

    Args:
        base_url: Where the engine is found; it may have a path.

    Attributes:
        wrong: Errors and warnings of the console, and what was asked of another origin.
    """

    def __init__(self, browser: Browser, base_url: str) -> None:
        self._browser = browser
        self._base_url = base_url
        self._contexts: list[BrowserContext] = []
        self.wrong: list[str] = []

    def __call__(
        self,
        path: str,
        *,
        width: int = 1280,
        height: int = 800,
        theme: str = "light",
        meant: int | None = None,
        key: str | None = None,
    ) -> Page:
        """Open a page in a browser that has seen nothing before.

        Args:
            meant: A status that pages are to be answered with here.
            key: What the reader puts in when asked for a password.
        """
        context = self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if theme == "dark" else "light",
            base_url=self._base_url,
            reduced_motion="reduce",
            http_credentials=None if key is None else {"username": "me", "password": key},
        )
        self._contexts.append(context)
        here = urlsplit(self._base_url).netloc
        wrong, page = self.wrong, context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if _is_wrong(message, meant) else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if urlsplit(request.url).netloc != here else None)
        page.set_default_timeout(15_000)
        page.goto(f"{self._base_url}{path}")
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()


def _is_wrong(message: ConsoleMessage, meant: int | None) -> bool:
    """Whether it tells of a fault of ours: what the API refuses is no fault, but browsers say so too."""
    if meant is not None and f"the server responded with a status of {meant}" in message.text:
        return False
    refused = (
        "/api/v1/" in message.location.get("url", "") and "the server responded with a status of 4" in message.text
    )
    return message.type in ("error", "warning") and not refused
