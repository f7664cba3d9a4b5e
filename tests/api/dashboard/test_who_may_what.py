"""Pages where keys are asked for: what who may only look sees, and what a page of somebody else may do."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import psycopg
import pytest
from playwright.sync_api import Browser, expect
from support.browser import Visitor
from support.databases import new_database

from workflow_engine.access import make_key

from ..conftest import PlayedWorker, engine_settings, running_engine
from .test_pages import PAGES, STEPS, TABS, links


class Keyed:
    """An engine that asks for keys, with two failed workflows and a live one."""

    def __init__(self, api: httpx.Client, database_url: str) -> None:
        self.api, self.url, self._database_url = api, str(api.base_url), database_url
        self.admin, self.viewer = self._key("admin"), self._key("viewer")
        api.headers["Authorization"] = f"Bearer {self.admin}"
        self.failed, self.mended = self._start("broken"), self._start("mended")
        worker = PlayedWorker(database_url)
        for claim in worker.claim():
            worker.end(claim, "failed", error={"type": "http.503", "message": "busy"})
        worker.connection.close()
        self.live = self._start("live")

    def _key(self, role: str) -> str:
        key = make_key()
        with psycopg.connect(self._database_url, autocommit=True) as database:
            database.execute(
                "select workflow.create_api_key(%s, %s, %s, '{}', %s, null)", [key.id, f"a-{role}", [role], key.hash]
            )
        return key.text

    def _start(self, name: str) -> str:
        answer = self.api.post("/api/v1/workflows", json={"name": name, "steps": STEPS}).raise_for_status()
        return str(answer.json()["id"])

    def paused(self) -> bool:
        return bool(self.api.get("/api/v1/health").json()["paused"])


@pytest.fixture(scope="module")
def keyed(server_url: str, template_database: str, redis_server_url: str) -> Iterator[Keyed]:
    with new_database(server_url, "looked", template=template_database) as url:
        settings = engine_settings(url, redis_server_url, WORKFLOW_AUTH="token")
        with running_engine(settings) as api:
            yield Keyed(api, url)


@pytest.fixture
def visit(keyed: Keyed, browser: Browser) -> Iterator[Visitor]:
    visitor = Visitor(browser, keyed.url)
    yield visitor
    visitor.close()
    assert visitor.wrong == []


def pages_of(page: httpx.Response) -> list[str]:
    """The keys of those in its navigation."""
    return re.findall(r'data-key="(\w)"', page.text)


def test_who_may_only_look_sees_every_page_and_no_button_that_does_anything(keyed: Keyed) -> None:
    looking = {"Authorization": f"Bearer {keyed.viewer}"}
    led_to = links(keyed.api.get("/admin", headers=looking))
    tabs = [f"/admin/workflows/{id_}?tab={tab}" for id_ in (keyed.failed, keyed.live) for tab in TABS if tab != "who"]
    of_definition = [
        f"/admin/definitions/broken?tab={tab}" for tab in ("versions", "graph", "document", "diff", "start")
    ]
    for path in (*PAGES, *tabs, *of_definition):
        page = keyed.api.get(path, headers=looking)
        if page.status_code == 403:  # nothing leads to what it takes more to see, and from there to what may be seen
            assert f".{path}" not in led_to
            assert pages_of(page) == pages_of(keyed.api.get("/admin", headers=looking)), path
            assert "/audit" not in " ".join(links(page))
        else:
            buttons = ("data-action", "data-start", "tab=start", 'class="box"><input')
            offered = [found for found in buttons if found in page.text]
            assert (page.status_code, offered) == (200, []), path


def test_who_may_do_more_sees_more(keyed: Keyed, visit: Visitor) -> None:
    page = visit(f"/admin/workflows/{keyed.failed}", key=keyed.viewer)
    expect(page.locator("#about .note.bad")).to_contain_text("busy")
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)
    expect(page.get_by_role("link", name="Who", exact=True)).to_have_count(0)
    page = visit(f"/admin/workflows/{keyed.failed}", key=keyed.admin)
    expect(page.get_by_role("button", name="Retry", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="Who", exact=True)).to_be_visible()


def test_who_may_only_look_and_sends_what_a_button_would_is_refused(keyed: Keyed, visit: Visitor) -> None:
    page = visit(f"/admin/workflows/{keyed.live}", key=keyed.viewer)
    status = page.evaluate(
        "async (id) => (await fetch(`../../api/v1/workflows/${id}/cancel`, {method: 'POST',"
        " headers: {'X-Requested-With': 'workflow-engine'}})).status",
        keyed.live,
    )
    assert status == 403
    assert keyed.api.get(f"/api/v1/workflows/{keyed.live}").json()["status"] == "pending"


def test_who_comes_to_the_page_of_a_workflow_first_follows_and_steers_it_with_the_same_password(
    keyed: Keyed, visit: Visitor
) -> None:
    page = visit(f"/admin/workflows/{keyed.mended}", key=keyed.admin)  # no stream: it has ended
    page.get_by_role("button", name="Retry", exact=True).click()
    expect(page.locator(".toast.good")).to_contain_text("Retried")
    page = visit(f"/admin/workflows/{keyed.live}", key=keyed.admin)
    assert page.evaluate("""() => new Promise((resolve) => {
        const stream = new EventSource(document.body.dataset.stream);
        stream.onopen = () => { resolve(true); stream.close(); };
        stream.onerror = () => stream.readyState === EventSource.CLOSED && resolve(false);
    })""")


def test_a_command_that_is_copied_asks_for_a_key_and_has_none(keyed: Keyed, visit: Visitor) -> None:
    page = visit(f"/admin/workflows/{keyed.live}", key=keyed.admin)
    page.get_by_role("button", name="Pause").focus()
    page.keyboard.press("c")
    toast = page.locator(".toast.good")
    expect(toast).to_contain_text("Copied: curl -X POST")
    expect(toast).to_contain_text("Bearer $WORKFLOW_TOKEN")
    assert keyed.admin not in page.content()
    assert keyed.api.get(f"/api/v1/workflows/{keyed.live}").json()["paused_at"] is None


@contextmanager
def another_site(content: str) -> Iterator[str]:
    """Somebody else's page; gives its address."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()


def test_a_page_of_another_site_changes_nothing_through_the_browser_of_who_may(keyed: Keyed, browser: Browser) -> None:
    visitor = Visitor(browser, keyed.url)
    try:
        page = visitor("/admin", key=keyed.admin)  # the browser knows the password now, and adds it by itself
        expect(page.get_by_role("button", name="Pause intake")).to_be_visible()
        form = f'<form method="post" action="{keyed.url}/api/v1/pause"><input name="ttl" value="1h"></form>'
        with another_site(f"{form}<script>document.forms[0].submit()</script>") as site:
            with page.expect_response(f"{keyed.url}/api/v1/pause") as sent:
                page.goto(site)
            assert sent.value.status in (401, 403)
        sends = f'fetch("{keyed.url}/api/v1/pause", {{method: "POST", mode: "no-cors", credentials: "include"}})'
        tells = '.catch(() => 0).then(() => { document.title = "tried" })'
        with another_site(f"<script>{sends}{tells}</script>") as site:
            page.goto(site)
            expect(page).to_have_title("tried")
        assert not keyed.paused()
        page.goto(f"{keyed.url}/admin")
        page.get_by_role("button", name="Pause intake").click()
        page.locator("#asking").get_by_role("button", name="Pause intake").click()
        expect(page.locator("#notes")).to_contain_text("The engine is paused")
        page.locator("#notes").get_by_role("button", name="Resume").click()
        expect(page.locator("#notes")).not_to_contain_text("The engine is paused")
    finally:
        visitor.close()


def test_a_page_that_one_may_not_see_says_so_as_a_page(keyed: Keyed) -> None:
    answer = httpx.get(f"{keyed.url}/admin/audit", auth=("x", keyed.viewer), headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["content-type"]) == (403, "text/html; charset=utf-8")
    assert "audit:read" in answer.text
    assert "../admin/workflows" in links(answer)
