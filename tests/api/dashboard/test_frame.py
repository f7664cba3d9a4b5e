"""What all pages have around what they show: the navigation, times, commands, keys."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, expect
from support.browser import Visitor
from support.databases import new_database

from ..conftest import PlayedWorker, engine_settings, running_engine
from .test_pages import start


@pytest.fixture(scope="module")
def framed(server_url: str, template_database: str, redis_server_url: str) -> Iterator[tuple[httpx.Client, str]]:
    """An engine with a workflow of which something has run."""
    with (
        new_database(server_url, "framed", template=template_database) as url,
        running_engine(engine_settings(url, redis_server_url)) as api,
    ):
        worker = PlayedWorker(url)
        workflow = start(api)
        worker.end(worker.claim()[0])
        yield api, workflow
        worker.connection.close()


@pytest.fixture
def visit(framed: tuple[httpx.Client, str], browser: Browser) -> Iterator[Visitor]:
    visitor = Visitor(browser, str(framed[0].base_url))
    yield visitor
    visitor.close()
    assert visitor.wrong == []


def test_on_a_phone_the_pages_are_behind_a_button_and_a_key(visit: Visitor) -> None:
    page = visit("/admin", width=390)
    menu = page.locator("#menu")
    expect(menu).to_be_hidden()
    page.get_by_role("button", name="Pages").click()
    menu.get_by_role("link", name="Workflows").click()
    page.wait_for_url("**/admin/workflows")
    page.keyboard.press("m")
    expect(menu.get_by_role("link", name="Workflows")).to_have_attribute("aria-current", "page")
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    page.set_viewport_size({"width": 1280, "height": 800})
    expect(menu).to_be_visible()
    expect(page.get_by_role("button", name="Pages")).to_be_hidden()


def test_times_say_how_long_ago_or_when_and_the_browser_remembers_it(
    framed: tuple[httpx.Client, str], visit: Visitor
) -> None:
    page = visit(f"/admin/workflows/{framed[1]}?tab=log")
    created = page.locator("#about time").first
    expect(created).to_have_text(re.compile(r"^\d+ s ago$|^\d+ m( \d+ s)? ago$"))
    page.keyboard.press("u")
    utc = framed[0].get(f"/api/v1/workflows/{framed[1]}").json()["created_at"][:19].replace("T", " ") + "Z"
    expect(created).to_have_text(utc)
    page.reload()
    expect(created).to_have_text(utc)
    expect(page.locator(".log thead th").first).to_have_text("Time (UTC)")
    page.get_by_role("button", name="Times: UTC", exact=True).click()
    expect(page.locator(".log thead th").first).to_have_text("Time (local)")
    expect(created).to_have_text(re.compile(r"^[-\d]{10} [\d:]{8}$"))
    created.hover()
    assert utc.replace("Z", " UTC") in str(created.get_attribute("title"))
    assert "ago" in str(created.get_attribute("title"))


def test_the_row_that_is_gone_to_is_not_behind_the_bar_at_the_top(visit: Visitor) -> None:
    page = visit("/admin/alerts", height=400)
    for key in ("j",) * 20 + ("k",) * 15:
        page.keyboard.press(key)
    top = page.evaluate("document.querySelector('tr.at').getBoundingClientRect().top")
    assert top >= page.evaluate("document.querySelector('.top').getBoundingClientRect().bottom")


def test_what_a_page_shows_and_what_its_buttons_do_is_there_as_commands(
    framed: tuple[httpx.Client, str], visit: Visitor
) -> None:
    page = visit(f"/admin/workflows/{framed[1]}")
    page.get_by_text("From the command line").click()
    lines = page.locator("#shell pre").all_inner_texts()
    path = f"'{framed[0].base_url}/api/v1/workflows/{framed[1]}"
    assert f"curl {path}'" in lines
    assert f"curl -X POST {path}/cancel'" in lines
    page.get_by_role("button", name="Cancel").focus()
    page.keyboard.press("c")
    expect(page.locator(".toast.good")).to_contain_text(f"Copied: curl -X POST {path}/cancel'")


def test_everything_that_can_be_done_with_a_mouse_is_reached_by_the_tabulator(
    framed: tuple[httpx.Client, str], visit: Visitor
) -> None:
    page = visit(f"/admin/workflows/{framed[1]}")
    page.evaluate("""() => {
        const all = [...document.querySelectorAll('a[href], button, input, select, textarea, summary')];
        window.missed = new Set(all.filter((each) => each.checkVisibility() && !each.disabled));
        document.addEventListener('focusin', (event) => missed.delete(event.target));
    }""")
    for _ in range(int(page.evaluate("missed.size")) + 20):  # regions that scroll are reached, too
        page.keyboard.press("Tab")
    assert page.evaluate("[...missed].map((each) => each.outerHTML)") == []
