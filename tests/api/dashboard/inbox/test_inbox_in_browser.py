"""What people do with approvals, schedules and deliveries on the pages, in a real browser."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from support.eventually import eventually

from ...conftest import PlayedWorker
from .asking import NOBODY, ask, define, emit

Visit = Callable[..., Page]
FORM = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "minLength": 5, "description": "Shown to the customer."},
        "amount": {"type": "number", "maximum": 120, "default": 100},
        "notify": {"type": "boolean"},
    },
    "required": ["reason"],
}


def approval(api: httpx.Client, id_: str) -> dict[str, object]:
    found: dict[str, object] = api.get(f"/api/v1/approvals/{id_}").json()
    return found


def test_a_question_is_answered_in_the_inbox_and_its_workflow_goes_on(
    api: httpx.Client, worker: PlayedWorker, visit: Visit
) -> None:
    asked = ask(api, worker, "Deploy build 4711?\nIt is green.")
    page = visit("/admin")
    page.keyboard.press("g")
    page.keyboard.press("i")
    row = page.locator("#rows tr", has_text="Deploy build 4711?")
    row.get_by_role("button", name="Approve").click()
    expect(page.locator("#asking")).to_contain_text("It is green.")
    page.get_by_label("Comment").fill("looks good")
    page.get_by_label("Your name").fill("ann")
    page.locator("#asking").get_by_role("button", name="Approve").click()
    expect(page.locator(".toast.good")).to_contain_text("Answered: approved.")
    expect(row).to_have_count(0)
    answered = approval(api, asked)
    assert [answered[name] for name in ("outcome", "data", "by")] == ["approved", {"comment": "looks good"}, "ann"]
    assert any(claim["workflow_id"] == answered["workflow_id"] for claim in worker.claim())

    other = ask(api, worker, "And this one?")
    page.locator("#rows tr", has_text="And this one?").get_by_role("button", name="Reject").click()
    expect(page.get_by_label("Your name")).to_have_value("ann")  # the browser remembers it
    page.locator("#asking").get_by_role("button", name="Reject").click()
    expect(page.locator(".toast.good").last).to_contain_text("Answered: rejected.")
    assert approval(api, other)["data"] is None


def test_a_form_says_at_its_fields_what_the_answer_lacks(api: httpx.Client, worker: PlayedWorker, visit: Visit) -> None:
    asked = ask(api, worker, "Refund?", form_schema=FORM)
    page = visit("/admin/approvals")
    page.locator("#rows tr", has_text="Refund?").get_by_role("link", name="Answer").click()
    form = page.locator("#answer")
    expect(form.get_by_label("amount")).to_have_value("100")
    form.get_by_role("button", name="Approve").click()  # the browser itself wants the reason
    assert approval(api, asked)["status"] == "open"
    form.get_by_label("reason").fill("no")
    form.get_by_label("amount").fill("121")
    form.get_by_role("button", name="Approve").click()
    expect(form.locator(".asked", has_text="reason").locator(".wrong")).to_contain_text("too short")
    expect(form.locator(".asked", has_text="amount").locator(".wrong")).to_contain_text("120")
    assert approval(api, asked)["status"] == "open"
    form.get_by_label("reason").fill("not as ordered")
    form.get_by_label("amount").fill("20")
    form.get_by_label("amount").press("Enter")  # of two answers none is meant by it
    expect(page.locator(".toast")).to_have_count(0)
    assert approval(api, asked)["status"] == "open"
    form.get_by_role("button", name="Approve").click()
    expect(page.locator("#about")).to_contain_text("approved")
    expect(form).to_be_hidden()
    answered = approval(api, asked)
    assert (answered["outcome"], answered["data"]) == ("approved", {"reason": "not as ordered", "amount": 20})


def test_a_form_need_not_be_filled_in_to_reject(api: httpx.Client, worker: PlayedWorker, visit: Visit) -> None:
    answers = [
        ({}, {}),
        ({"Comment": "not ours"}, {"comment": "not ours"}),
        ({"reason": "no"}, {"reason": "no", "amount": 100}),
    ]
    for put_in, data in answers:
        asked = ask(api, worker, "Refund?", form_schema=FORM)
        page = visit(f"/admin/approvals/{asked}")
        for label, text in put_in.items():
            page.get_by_label(label).fill(text)
        page.get_by_role("button", name="Reject").click()
        expect(page.locator("#about")).to_contain_text("rejected")
        assert approval(api, asked)["data"] == data


def test_a_schedule_is_paused_resumed_run_and_backfilled(api: httpx.Client, worker: PlayedWorker, visit: Visit) -> None:
    define(api, "steered", {"cron": "0 6 1 * *", "timezone": "Europe/Berlin"})
    page = visit("/admin/schedules?name=steered")
    row = page.locator("#rows tr", has_text="steered")
    row.get_by_role("button", name="Pause").click()
    expect(row).to_contain_text("paused")
    assert api.get("/api/v1/schedules/steered").json()["paused"] is True
    row.get_by_role("button", name="Resume").click()
    expect(row).to_contain_text("active")
    assert api.get("/api/v1/schedules/steered").json()["paused"] is False

    row.get_by_role("link", name="steered").click()
    page.get_by_role("button", name="Backfill").click()
    page.get_by_label("From").fill("2026-01-15")
    page.get_by_label("Until").fill("2026-03-15")
    expect(page.locator("#asking .would")).to_contain_text(
        "2 would be started: of 2 due times from 2026-02-01 05:00 UTC"
    )
    assert api.get("/api/v1/workflows?name=steered").json() == []
    page.locator("#asking").get_by_role("button", name="Backfill").click()
    expect(page.locator("#about tr", has_text="2026-03-01 05:00 UTC")).to_contain_text("pending")
    assert len(api.get("/api/v1/workflows?name=steered").json()) == 2

    page.get_by_role("button", name="Run now").click()
    page.locator("#asking").get_by_role("button", name="Run now").click()
    page.wait_for_url(re.compile(r"/admin/workflows/[0-9a-f-]{36}$"))
    expect(page.locator("#about h1")).to_contain_text("steered")
    assert len(api.get("/api/v1/workflows?name=steered").json()) == 3


def test_deliveries_that_were_given_up_are_sent_again(api: httpx.Client, worker: PlayedWorker, visit: Visit) -> None:
    heard: list[str] = []
    gone = True

    class Target(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(410 if gone else 204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Target) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            origin = f"http://127.0.0.1:{server.server_port}"
            for n in range(3):
                emit(api, worker, f"order.{n}", to="webhook", url=f"{origin}/{n}")
            eventually(lambda: len(api.get(f"/api/v1/outbox?status=dead&origin={origin}").json()) == 3)
            gone = False
            page = visit("/admin/outbox")
            page.locator("#rows tr", has_text="order.1").get_by_role("button", name="Send again").click()
            expect(page.locator("#rows tr", has_text="order.1")).to_have_count(0)
            page.locator("#targets tr", has_text=origin).get_by_role("button", name="Send all again").click()
            expect(page.locator("#asking .would")).to_have_text("2 deliveries")
            page.locator("#asking").get_by_role("button", name="Send all again").click()
            expect(page.locator(".toast.good").last).to_contain_text("Being sent again: 2.")
            expect(page.locator("#rows tr", has_text="order.0")).to_have_count(0)
            eventually(lambda: len(api.get(f"/api/v1/outbox?status=delivered&origin={origin}").json()) == 3)
        finally:
            server.shutdown()
    assert sorted(heard) == ["/0", "/0", "/1", "/1", "/2", "/2"]


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_all_pages_are_fit_for_any_width_and_for_whoever_uses_other_means_than_eyes(
    api: httpx.Client, worker: PlayedWorker, visit: Visit, theme: str, width: int
) -> None:
    long = "a-name-that-does-not-end-" * 4
    asked = ask(api, worker, "Why? " * 60, form_schema=FORM, assignees=[long])
    define(api, f"{long}{theme}"[:100], {"cron": "0 6 1 * *", "timezone": "Europe/Berlin", "input": {"long": long}})
    define(api, "two-entries", {"cron": "0 6 1 * *"}, {"cron": "* * 1 1 *", "timezone": "Asia/Kolkata"})
    workflow = emit(api, worker, workflow_id=NOBODY)
    (letter,) = eventually(lambda: api.get(f"/api/v1/outbox?status=dead&workflow_id={workflow}").json())
    page, found = visit("/admin", theme=theme, width=width), []
    for path in (
        "approvals", f"approvals/{asked}", "schedules", "schedules/two-entries", "outbox", f"outbox/{letter['id']}",
    ):  # fmt: skip
        page.goto(f"/admin/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        found += [
            (path, one["id"], one["nodes"][0]["html"][:200])
            for one in Axe().run(page).response["violations"]
            if one["impact"] in ("serious", "critical")
        ]
    assert found == []
