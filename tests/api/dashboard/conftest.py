"""A browser for the pages, and what must never happen on one of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

expect.set_options(timeout=30_000)
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium, that of the system. No longer than a file: where Playwright runs, no other event loop can."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        raise RuntimeError("Pages are tried in a real browser, and there is none: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


def is_wrong(message: ConsoleMessage, meant: int | None) -> bool:
    """Whether it tells of a fault of ours: what the API refuses is no fault, but browsers say so too."""
    if meant is not None and f"the server responded with a status of {meant}" in message.text:
        return False
    refused = (
        "/api/v1/" in message.location.get("url", "") and "the server responded with a status of 4" in message.text
    )
    return message.type in ("error", "warning") and not refused


@pytest.fixture
def visit(browser: Browser, api: httpx.Client) -> Iterator[Callable[..., Page]]:
    """Opens a page; in the end nothing may have gone wrong on any: no error in the console, nothing asked elsewhere."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []
    here = urlsplit(str(api.base_url)).netloc

    def open_page(
        path: str, *, width: int = 1280, height: int = 800, theme: str = "light", meant: int | None = None
    ) -> Page:
        """`meant` is a status that pages are to be answered with here."""
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if theme == "dark" else "light",
            base_url=str(api.base_url),
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if is_wrong(message, meant) else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if urlsplit(request.url).netloc != here else None)
        page.set_default_timeout(15_000)
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []
