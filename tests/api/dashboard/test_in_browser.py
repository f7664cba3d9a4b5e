"""What operators do on the pages, in a real browser."""

from __future__ import annotations

import re
import subprocess

import httpx
import pytest
from playwright.sync_api import expect
from support.browser import Visitor, serious
from support.eventually import eventually

from ..conftest import PlayedWorker
from .test_pages import OF_DEFINITION, PAGES, STEPS, TABS, start


def status(api: httpx.Client, workflow: str) -> str:
    return str(api.get(f"/api/v1/workflows/{workflow}").json()["status"])


def test_a_workflow_is_seen_to_move_without_reloading(api: httpx.Client, worker: PlayedWorker, visit: Visitor) -> None:
    workflow = start(api)
    page = visit(f"/admin/workflows/{workflow}")
    page.evaluate("window.same = true")
    expect(page.locator(".graph g.pending")).to_have_count(1)
    claim = worker.claim()[0]
    expect(page.locator(".graph g.running .name")).to_have_text("fetch")
    worker.end(claim)
    expect(page.locator(".graph g.succeeded .name")).to_have_text("fetch")
    worker.run_all()
    expect(page.locator("#about .state")).to_contain_text("succeeded")
    expect(page.locator(".graph g.succeeded")).to_have_count(3)
    assert page.evaluate("window.same") is True


def test_what_failed_is_found_on_the_overview_and_mended_in_two_clicks(
    api: httpx.Client, worker: PlayedWorker, visit: Visitor
) -> None:
    page = visit("/admin")
    workflow = start(api, "shipping")
    worker.end(worker.claim()[0], "failed", error={"type": "http.503", "message": "busy"})
    row = page.locator("#failures tr", has_text="shipping")
    expect(row).to_contain_text("http.503")
    row.get_by_role("link").click()
    expect(page.locator("#about .note.bad")).to_contain_text("busy")
    page.get_by_role("button", name="Retry", exact=True).click()
    toast = page.locator(".toast.good")
    expect(toast).to_contain_text("Retried. Tasks that run again: 3.")
    expect(page.locator("#about .state").first).not_to_contain_text("failed")
    toast.locator("summary").click()
    assert toast.locator("pre").inner_text() == f"curl -X POST '{api.base_url}/api/v1/workflows/{workflow}/retry'"
    worker.run_all()
    eventually(lambda: status(api, workflow) == "succeeded")


def test_what_has_been_pending_for_an_hour_is_woken_or_cancelled_from_the_overview(
    api: httpx.Client, worker: PlayedWorker, visit: Visitor
) -> None:
    old, fresh = start(api, "stuck"), start(api, "fresh")
    worker.connection.execute(
        "update workflow.workflows set created_at = created_at - interval '2 hours' where id = %s", [old]
    )
    page = visit("/admin")
    need = page.locator("#needs li", has_text="pending for more than an hour")
    need.get_by_role("button", name="Wake them").click()
    expect(page.locator("#asking .would")).to_have_text("1 workflow")
    page.locator("#asking").get_by_role("button", name="Wake them").click()
    expect(page.locator(".toast.good")).to_contain_text("Woken: 1. Refused: 0.")
    need.get_by_role("button", name="Cancel them").click()
    page.locator("#asked-reason").fill("nobody waits for it")
    page.locator("#asking").get_by_role("button", name="Cancel them").click()
    expect(need).to_have_count(0)
    expect(page.locator("#needs-title")).to_be_focused()
    assert (status(api, old), status(api, fresh)) == ("cancelled", "pending")


def test_to_cancel_is_confirmed_says_why_and_shows_the_command_that_does_the_same(
    api: httpx.Client, worker: PlayedWorker, visit: Visitor
) -> None:
    first, second = start(api), start(api)
    page = visit(f"/admin/workflows/{first}")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Go back").click()
    assert status(api, first) == "pending"
    page.get_by_role("button", name="Cancel").click()
    page.locator("#asked-reason").fill("it's not needed")
    command = page.locator("#asking pre.curl").inner_text()
    page.locator("#asked-reason").press("Enter")
    expect(page.locator(".toast.good")).to_contain_text("Its status is now cancelled.")
    expect(page.locator("#about .state").first).to_contain_text("cancelled")
    page.get_by_role("link", name="Events").click()
    expect(page.locator("#tab-events")).to_contain_text("workflow.cancelled")
    page.get_by_role("link", name="Who", exact=True).click()
    expect(page.locator("#tab-who")).to_contain_text("Cancel a workflow")

    done = subprocess.run(["bash", "-c", command.replace(first, second) + " -s"], capture_output=True, check=True)
    assert b'"status":"cancelled"' in done.stdout


def test_one_workflow_is_paused_and_goes_on(api: httpx.Client, worker: PlayedWorker, visit: Visitor) -> None:
    workflow = start(api)
    page = visit(f"/admin/workflows/{workflow}")
    page.get_by_role("button", name="Pause").click()
    page.get_by_label("Reason").fill("the shop is closed")
    page.locator("#asking").get_by_role("button", name="Pause").click()
    expect(page.locator("#about .state").first).to_contain_text("paused")
    expect(page.locator("#about .note")).to_contain_text("the shop is closed")
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    assert worker.claim() == []
    expect(page.get_by_role("button", name="Resume")).to_be_focused()  # who uses keys stays where he is
    page.keyboard.press("Enter")
    expect(page.locator("#about .state").first).to_contain_text("pending")
    expect(page.get_by_role("button", name="Pause")).to_be_focused()
    assert len(worker.claim()) == 1


def test_the_engine_is_paused_and_resumed_from_the_banner(
    api: httpx.Client, worker: PlayedWorker, visit: Visitor
) -> None:
    page = visit("/admin/queues")
    page.get_by_role("button", name="Pause intake").click()
    page.get_by_label("Reason").fill("new release")
    page.locator("#asking").get_by_role("button", name="Pause intake").click()
    expect(page.locator("#notes")).to_contain_text(": “new release”.")
    expect(page.get_by_role("button", name="Pause intake")).to_have_count(0)  # what is so already is not offered
    assert api.post("/api/v1/workflows", json={"name": "late", "steps": STEPS}).status_code == 503
    page.locator("#notes").get_by_role("button", name="Resume").click()
    expect(page.locator("#notes")).not_to_contain_text("The engine is paused")
    expect(page.get_by_role("button", name="Pause intake")).to_be_visible()


def test_many_workflows_are_retried_by_filter_after_it_is_said_how_many(
    api: httpx.Client, worker: PlayedWorker, visit: Visitor
) -> None:
    for name in ("alpha", "alpha", "beta"):
        start(api, name)
    for claim in worker.claim():
        worker.end(claim, "failed")
    page = visit("/admin/workflows?status=failed&name=alpha")
    page.get_by_role("button", name="Retry all that match").click()
    expect(page.locator("#asking .would")).to_have_text("2 workflows")
    page.locator("#asking").get_by_role("button", name="Retry all that match").click()
    expect(page.locator(".toast.good")).to_contain_text("Retried: 2. Refused: 0.")
    expect(page.locator("#rows")).to_contain_text("No workflow matches these filters")


def test_workflows_are_ticked_and_cancelled(api: httpx.Client, worker: PlayedWorker, visit: Visitor) -> None:
    kept, gone = start(api, "kept"), start(api, "gone")
    page = visit("/admin/workflows")
    page.get_by_label(f"Select gone {gone[-12:]}").check()
    expect(page.locator("[data-selected-count]")).to_have_text("1 selected; the list waits")
    start(api, "later")
    expect(page.locator("#chips")).to_contain_text("Pending 3")
    expect(page.locator("#rows")).not_to_contain_text("later")  # who chooses rows does not see them move
    page.get_by_role("button", name="Cancel", exact=False).first.click()
    expect(page.locator("#asking")).to_contain_text("Ends the 1 selected workflow now")
    page.locator("#asking").get_by_role("button", name="Cancel").click()
    expect(page.locator("#rows tr", has_text="gone")).to_contain_text("cancelled")
    expect(page.locator("#rows")).to_contain_text("later")
    expect(page.get_by_role("heading", name="Workflows")).to_be_focused()  # nothing is ticked: the button rests
    assert (status(api, kept), status(api, gone)) == ("pending", "cancelled")


def test_a_task_is_skipped_with_an_output_that_must_be_json(
    api: httpx.Client, worker: PlayedWorker, visit: Visitor
) -> None:
    workflow = start(api, steps=[{"id": "a", "type": "noop"}])
    page = visit(f"/admin/workflows/{workflow}?tab=tasks")
    page.get_by_role("link", name="a", exact=True).click()
    page.get_by_role("button", name="Skip this task").click()
    page.locator("#asked-output").fill('{"given": ')
    expect(page.locator("#asking .asked", has_text="Output").locator(".wrong")).to_contain_text("This is not JSON")
    page.locator("#asked-output").fill('{"given": 7}')
    page.locator("#asking").get_by_role("button", name="Skip this task").click()
    expect(page.locator("#tab-tasks .panel").first).to_contain_text("succeeded")
    assert status(api, workflow) == "succeeded"
    assert api.get(f"/api/v1/workflows/{workflow}").json()["output"] == {"a": {"given": 7}}


def test_a_dialog_whose_request_is_refused_says_why_at_the_field_and_keeps_what_was_put_in(
    api: httpx.Client, worker: PlayedWorker, visit: Visitor
) -> None:
    workflow = start(api)
    page = visit(f"/admin/workflows/{workflow}")
    asking = page.locator("#asking")
    page.get_by_role("button", name="Run again").click()
    page.get_by_label("From step").fill("fetsh")
    page.get_by_label("Other input").fill('{"note": 1}')
    asking.get_by_role("button", name="Run again").click()
    expect(asking.locator(".asked", has_text="From step").locator(".wrong")).to_contain_text("fetch")
    expect(page.get_by_label("From step")).to_be_focused()
    expect(page.get_by_label("Other input")).to_have_value('{"note": 1}')
    page.get_by_label("From step").fill("fetch")
    expect(asking.locator(".wrong:visible")).to_have_count(0)
    asking.get_by_role("button", name="Go back").click()

    page.get_by_role("button", name="Pin version").click()
    version = page.locator("#asked-version")
    version.fill("0")
    version.press("Enter")
    expect(asking.locator(".asked", has_text="Version").locator(".wrong")).to_contain_text("1")
    version.fill("99")
    asking.get_by_role("button", name="Pin version").click()
    expect(asking.locator(".note.bad")).to_contain_text("99")
    expect(version).to_have_value("99")
    expect(page.locator(".toast")).to_have_count(0)


def test_keys_lead_everywhere(api: httpx.Client, worker: PlayedWorker, visit: Visitor) -> None:
    workflow = start(api)
    page = visit("/admin")
    page.keyboard.press("g")
    page.keyboard.press("w")
    page.wait_for_url("**/admin/workflows")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("[data-selected-count]")).to_have_text("1 selected; the list waits")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/admin/workflows/{workflow}")
    page.keyboard.press("]")
    page.wait_for_url("**tab=timeline")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.locator("#find")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.evaluate("""() => {  // a key within the frame in which the dialog was closed, as on a busy machine
        document.querySelector("#keys").close();
        document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "/", bubbles: true }));
    }""")
    expect(page.locator("#find")).to_be_focused()
    page.keyboard.type(workflow)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/admin/workflows/{workflow}")
    page.keyboard.press("r")
    expect(page.locator("#live")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_keys_are_turned_off_until_they_are_wanted_again(
    api: httpx.Client, worker: PlayedWorker, visit: Visitor
) -> None:
    page = visit("/admin")
    page.get_by_role("button", name="Keys").click()
    page.get_by_label("Use these keys").uncheck()
    page.keyboard.press("Escape")
    page.reload()
    for key in ("t", "?", "g", "w", "/"):
        page.keyboard.press(key)
    expect(page.locator("#find")).not_to_be_focused()
    assert page.evaluate("document.documentElement.dataset.theme") is None
    page.get_by_role("button", name="Keys").click()
    page.get_by_label("Use these keys").check()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.locator("#find")).to_be_focused()


def test_a_page_that_is_not_live_stays_as_it_is(api: httpx.Client, worker: PlayedWorker, visit: Visitor) -> None:
    page = visit("/admin/workflows")
    page.keyboard.press("r")
    workflow = start(api)
    page.keyboard.press("r")
    expect(page.locator("#rows")).to_contain_text(workflow[-12:])


def everywhere(workflow: str) -> list[str]:
    return [*PAGES, *OF_DEFINITION, *(f"/admin/workflows/{workflow}?tab={tab}" for tab in TABS), "/admin/nowhere"]


@pytest.fixture
def varied(api: httpx.Client, worker: PlayedWorker) -> str:
    """A workflow with something on each of its tabs, among others of every state."""
    for n in range(4):
        start(api, f"pipeline-{n}", labels={"team": "payments"})
    for n, claim in enumerate(worker.claim()):
        worker.end(claim, "failed" if n % 2 else "succeeded", error={"type": "http.503", "message": "busy " * 30})
    workflow = start(api, input={"note": "long " * 60})
    claim = next(claim for claim in worker.claim() if claim["workflow_id"] == workflow)
    worker.end(claim, "retried", delay=3600, error={"type": "timeout", "message": "Task exceeded maximum runtime"})
    return workflow


def test_a_page_outlasts_what_a_proxy_says_while_engines_are_replaced(
    api: httpx.Client, worker: PlayedWorker, visit: Visitor
) -> None:
    page = visit("/admin/workflows", meant=502)
    page.evaluate("window.same = true")
    page.route("**/admin/workflows", lambda route: route.fulfill(status=502, body="Bad Gateway"))
    expect(page.locator("#live")).to_have_class(re.compile("broken"))
    page.unroute("**/admin/workflows")
    start(api, "after")
    expect(page.locator("#rows")).to_contain_text("after")
    expect(page.locator("#live")).not_to_have_class(re.compile("broken"))
    assert page.evaluate("window.same") is True


def test_who_corrects_a_wrong_filter_is_not_disturbed(api: httpx.Client, worker: PlayedWorker, visit: Visitor) -> None:
    page = visit("/admin/workflows?status=sleeping", meant=422)
    page.clock.install()
    page.reload()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    start(api)
    page.keyboard.press("r")
    page.clock.run_for(60_000)
    expect(page.locator("#seen")).to_be_empty()
    assert [url for url in asked if "/static/" not in url] == [], (
        "what is wrong stays so, however often it is asked for"
    )


@pytest.mark.timeout(900)  # all pages there are
def test_each_page_is_for_everybody_in_both_themes_and_no_wider_than_its_window(varied: str, visit: Visitor) -> None:
    """Without eyes and a mouse, too. Each page is opened once: that is most of what it costs to look at it."""
    page, found = visit("/admin"), []
    ground = "getComputedStyle(document.body).backgroundColor"
    for path in everywhere(varied)[:-1]:
        page.goto(path)
        found += [(path, *each) for each in serious(page)]
        light = page.evaluate(ground)
        page.emulate_media(color_scheme="dark")
        assert page.evaluate(ground) != light
        found += [(path, "dark", *each) for each in serious(page, "color-contrast")]
        page.emulate_media(color_scheme="light")
        if (
            "/definitions/" not in path
        ):  # what is never brought up to date would say of old times that they were the last
            stale = "[...document.querySelectorAll('time')].filter((each) => !each.closest('[data-live]')).length"
            found += [(path, "times that stay as they are", count)] if (count := page.evaluate(stale)) else []
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            wide = page.evaluate("document.documentElement.scrollWidth")
            found += [(path, "is wider than its window", wide, width)] if wide > width else []
    assert found == []


def test_a_page_is_read_without_its_script_too(api: httpx.Client, varied: str) -> None:
    for path in everywhere(varied)[:-1]:
        page = api.get(path).text
        assert re.search(r"<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>", page)
        assert "<h1>" in page
