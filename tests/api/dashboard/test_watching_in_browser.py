"""What operators see and do in a browser about what is watched."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from playwright.sync_api import Page, expect
from support.eventually import eventually

from ..conftest import PlayedWorker
from .test_pages import start
from .test_watching import let_fire

Visit = Callable[..., Page]


def test_an_alert_fires_leads_to_what_helps_and_is_over(api: httpx.Client, worker: PlayedWorker, visit: Visit) -> None:
    page = visit("/admin/workers")
    workflow = start(api, "asking", steps=[{"id": "a", "type": "noop", "queue": "gpu"}])
    eventually(lambda: api.get("/api/v1/alerts").json())
    page.keyboard.press("g")
    page.keyboard.press("a")
    page.wait_for_url("**/admin/alerts")
    row = page.locator("#alerts tr", has_text="No worker serves the queue gpu")
    expect(row).to_contain_text("pending")
    let_fire(worker)
    expect(row).to_contain_text("warning")
    row.get_by_role("link", name="What to do").click()
    expect(page.get_by_role("heading", name="Mitigation")).to_be_visible()
    assert str(api.base_url) in page.locator("pre.curl").first.inner_text()
    page.goto("/admin/workflows")
    expect(page.locator("#notes")).to_contain_text("No worker serves the queue gpu")
    api.post(f"/api/v1/workflows/{workflow}/cancel").raise_for_status()
    expect(page.locator("#notes")).not_to_contain_text("No worker serves the queue gpu")
    page.goto("/admin/alerts")
    over = page.get_by_role("region", name="Past alerts")
    expect(over.locator("tr", has_text="No worker serves the queue gpu")).to_be_visible()


def test_locks_are_taken_away_after_it_is_said_what_that_does(
    api: httpx.Client, worker: PlayedWorker, visit: Visit
) -> None:
    steps = [{"id": "a", "type": "noop", "locks": ["printer"]}]
    holder = start(api, "holding", steps=steps)
    worker.claim()
    start(api, "waiting", steps=steps)
    worker.claim()
    page = visit("/admin/locks")
    row = page.locator("#locks tr", has_text="printer")
    expect(row).to_contain_text(holder[-12:])
    row.get_by_role("button", name="Release").click()
    expect(page.locator("#asking")).to_contain_text("are stopped and tried again later")
    page.locator("#asking").get_by_role("button", name="Release").click()
    expect(page.locator(".toast.good")).to_contain_text("lost their lease and are tried again: 1.")
    (task,) = api.get(f"/api/v1/workflows/{holder}/tasks").json()
    assert task["status"] == "pending"


def test_who_cancelled_a_workflow_is_found_in_the_audit_log(
    api: httpx.Client, worker: PlayedWorker, visit: Visit
) -> None:
    kept, gone = start(api, "kept"), start(api, "gone")
    api.post(f"/api/v1/workflows/{kept}/pause").raise_for_status()
    api.post(f"/api/v1/workflows/{gone}/cancel").raise_for_status()
    page = visit("/admin")
    page.keyboard.press("g")
    page.keyboard.press("u")
    page.wait_for_url("**/admin/audit")
    page.get_by_role("link", name="Cancelled", exact=True).click()
    expect(page.locator("#rows tbody tr")).to_have_count(1)
    expect(page.locator("#rows")).to_contain_text("workflows_cancel")
    page.get_by_label("Workflow", exact=True).fill(kept)
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#rows")).to_contain_text("No entry matches these filters")
    page.get_by_label("Workflow", exact=True).fill(gone)
    page.keyboard.press("Enter")
    page.locator("#rows").get_by_role("link", name=gone[-12:]).click()
    page.wait_for_url(f"**/admin/workflows/{gone}")
