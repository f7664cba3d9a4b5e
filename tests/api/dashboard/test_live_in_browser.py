"""Pages that stay open while things happen, in a real browser: nobody is disturbed, nothing old taken for new."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
from playwright.sync_api import Page, expect

from ..conftest import PlayedWorker
from .test_pages import start

Visit = Callable[..., Page]


def test_what_has_the_focus_keeps_it_when_its_part_of_a_page_comes_anew(
    api: httpx.Client, worker: PlayedWorker, visit: Visit
) -> None:
    workflow = start(api)
    worker.end(worker.claim()[0], "retried", error={"type": "http.503", "message": "busy"})
    page = visit(f"/admin/workflows/{workflow}?tab=events")
    rows, summary = page.locator("#tab-events tbody tr"), page.locator("#tab-events summary", has_text="error")
    before = rows.count()
    summary.focus()
    page.keyboard.press("Enter")
    worker.claim()
    expect(rows).not_to_have_count(before)
    expect(page.locator("#tab-events details:has(:focus)")).to_contain_text("http.503")
    expect(page.locator("#tab-events details:has(:focus)")).to_have_attribute("open", "")


def test_an_engine_that_says_nothing_is_told_as_that_and_what_it_says_of_itself_is_shown(
    api: httpx.Client, worker: PlayedWorker, visit: Visit
) -> None:
    page = visit("/admin/workflows", meant=503)
    page.clock.install()
    held = []
    page.route("**/admin/workflows", lambda route: held.append(route))  # noqa: PLW0108 (as when a network is gone)
    start(api, "first")
    while not held:
        page.clock.fast_forward(1000)
        page.wait_for_timeout(50)
    expect(page.locator("#seen")).to_be_empty()
    page.clock.fast_forward(16_000)
    expect(page.locator("#seen")).to_have_text("The engine does not answer. This page shows what it said last.")
    expect(page.locator("#live")).to_have_class(re.compile("broken"))
    page.unroute("**/admin/workflows")
    away = "<div id=error><strong>Postgres does not answer.</strong></div>"
    page.route("**/admin/workflows", lambda route: route.fulfill(status=503, body=away, content_type="text/html"))
    page.clock.resume()
    expect(page.locator("#seen")).to_have_text("Postgres does not answer. This page shows what it said last.")
    page.unroute("**/admin/workflows")
    expect(page.locator("#rows")).to_contain_text("first")
    expect(page.locator("#seen")).to_be_empty()


def test_what_was_done_is_looked_for_anew_until_it_is_seen_even_if_nothing_else_is_followed(
    api: httpx.Client, worker: PlayedWorker, visit: Visit
) -> None:
    workflow = start(api)
    page = visit(f"/admin/workflows/{workflow}", meant=502)
    page.clock.install()
    page.keyboard.press("r")
    page.evaluate("""() => {
        const ask = fetch;
        window.asked = [];
        window.fetch = (url, how) => {
            if (how.headers?.Accept === "text/html") asked.push(how.cache);
            return ask(url, how);
        };
    }""")
    page.route(f"**/admin/workflows/{workflow}", lambda route: route.fulfill(status=502, body="Bad Gateway"), times=1)
    page.get_by_role("button", name="Pause").click()
    page.locator("#asking").get_by_role("button", name="Pause").click()
    expect(page.locator("#live")).to_have_class(re.compile("broken"))
    page.clock.fast_forward(6_000)
    expect(page.get_by_role("button", name="Resume", exact=True)).to_be_visible()
    assert page.evaluate("asked") == ["reload", "reload"], "by what the server remembers it might not be there"
