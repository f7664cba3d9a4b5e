"""From its start to its end, with what goes wrong between, a workflow is followed and steered on the pages alone.

An engine and a worker run as users run them; they are looked at directly, and through a proxy that shows them under a
path.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browser import Visitor, serious
from support.cluster import Cluster
from support.databases import new_database
from support.documents import flow, step
from support.nginx import nginx


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, server_url: str, template_database: str, redis_server_url: str
) -> Iterator[Cluster]:
    with new_database(server_url, "steered", template=template_database) as url:
        cluster = Cluster(tmp_path_factory.mktemp("steered"), url, redis_server_url)
        try:
            cluster.up()
            yield cluster
        finally:
            cluster.close()


@pytest.mark.parametrize("looks", ["directly, in the light, at a desk", "through a proxy, in the dark, on a phone"])
def test_a_workflow_is_steered_from_its_start_to_its_end(
    cluster: Cluster, browser: Browser, tmp_path: Path, looks: str
) -> None:
    theme, width = ("dark", 390) if "dark" in looks else ("light", 1280)
    with nginx(cluster.url, tmp_path) if "proxy" in looks else nullcontext(cluster.url) as url:
        visitor = Visitor(browser, url)
        steered(cluster, visitor("/admin/workflows", width=width, theme=theme), tmp_path, f"journey-{theme}")
        visitor.close()
    assert visitor.wrong == []


def looks_well(page: Page) -> bool:
    fits = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    return bool(fits) and serious(page) == []


def steered(cluster: Cluster, page: Page, place: Path, name: str) -> None:
    fetched, needed, stored = (place / each for each in ("fetched", "needed", "stored"))
    document = flow(
        name,
        step("fetch", type="gated", gate=str(fetched)),
        {**step("process", "fetch", type="needs-a-file", needed=str(needed)), "retries": 0},
        step("store", "process", type="gated", gate=str(stored)),
    )
    about, state = page.locator("#about"), page.locator("#about .state").first

    # It is started, and the list that is open shows it.
    page.evaluate("window.same = true")
    workflow = cluster.start(document)
    row = page.locator("#rows tr", has_text=name)
    expect(row).to_contain_text("running")
    row.get_by_role("link", name=name).click()
    page.wait_for_url(f"**/admin/workflows/{workflow}")

    # It moves: graph and timeline, without the page being loaded again.
    page.evaluate("window.same = true")
    expect(page.locator(".graph g.running .name")).to_have_text("fetch")
    expect(page.locator(".graph g.blocked")).to_have_count(2)
    assert looks_well(page)
    page.get_by_role("link", name="Timeline").click()
    page.evaluate("window.same = true")
    expect(page.locator(".timeline tbody .bar.running")).to_have_count(1)
    fetched.touch()
    expect(page.locator(".timeline tbody .bar.failed")).to_have_count(1)
    expect(page.locator(".timeline tbody .bar.succeeded")).to_have_count(1)
    assert page.evaluate("window.same") is True

    # It has failed; what was missing is brought, and it is tried again.
    expect(state).to_contain_text("failed")
    expect(about.locator(".note.bad")).to_contain_text("No such file")
    page.get_by_role("link", name="Graph").click()
    page.evaluate("window.same = true")
    expect(page.locator(".graph g.failed .name").first).to_have_text("process")
    needed.touch()
    page.get_by_role("button", name="Retry", exact=True).click()
    expect(page.locator(".toast.good")).to_contain_text("Retried")
    expect(page.locator(".graph g.succeeded")).to_have_count(2)
    expect(page.locator(".graph g.running .name")).to_have_text("store")

    # It is paused and resumed, and then not wanted any more.
    page.get_by_role("button", name="Pause").click()
    page.locator("#asking").get_by_role("button", name="Pause").click()
    expect(state).to_contain_text("paused")
    page.get_by_role("button", name="Resume").click()
    expect(state).to_contain_text("running")
    page.get_by_role("button", name="Cancel").click()
    page.locator("#asked-reason").fill("not wanted any more")
    assert looks_well(page)
    page.locator("#asking").get_by_role("button", name="Cancel").click()
    expect(state).to_contain_text("cancelled")
    assert page.evaluate("window.same") is True

    # It is wanted after all, from the last step on.
    stored.touch()
    page.get_by_role("button", name="Run again").click()
    page.locator("#asked-from").fill("store")
    page.locator("#asking").get_by_role("button", name="Run again").click()
    page.wait_for_url(lambda url: "/admin/workflows/" in url and workflow not in url)
    expect(state).to_contain_text("succeeded")
    expect(page.locator(".graph g.succeeded")).to_have_count(3)
    expect(about.get_by_role("link", name=workflow[-12:])).to_be_visible()
    page.get_by_role("link", name="Input and output").click()
    expect(page.locator("#tab-io")).to_contain_text('"store"')
    assert looks_well(page)
