"""Pages of the engine of a test, opened in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser
from support.browser import Visitor
from support.browser import browser as browser  # noqa: PLC0414 (a fixture)


@pytest.fixture
def visit(browser: Browser, api: httpx.Client) -> Iterator[Visitor]:
    """Opens a page; in the end nothing may have gone wrong on any: no error in the console, nothing asked elsewhere."""
    visitor = Visitor(browser, str(api.base_url))
    yield visitor
    visitor.close()
    assert visitor.wrong == []
