"""Pages of definitions: which versions run where, what changed, and starting one by a form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urljoin

import httpx
from playwright.sync_api import Page, expect
from support.eventually import eventually

from ..conftest import PlayedWorker
from .test_pages import EVIL, links, start, text

Visit = Callable[..., Page]
SCHEMA = {
    "type": "object",
    "required": ["order", "customer"],
    "additionalProperties": False,
    "properties": {
        "order": {"type": "integer", "title": "Order number", "minimum": 1, "description": "As the shop has it."},
        "carrier": {"enum": ["dhl", "ups"], "default": "ups"},
        "express": {"type": "boolean", "default": False},
        "tags": {"type": "array", "items": {"type": "string"}},
        "lines": {"type": "array", "items": {"type": "object"}},
        "customer": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "email": {"type": "string", "minLength": 6}},
        },
        "invoice": {"type": "object", "required": ["vat"], "properties": {"vat": {"type": "string"}}},
    },
}


def register(api: httpx.Client, name: str, *steps: str, **more: Any) -> int:
    """A version of steps one after the other; returns its number."""
    document = {
        "name": name,
        "steps": [
            {"id": step, "type": "noop", **({"depends_on": [before]} if before else {})}
            for before, step in zip(("", *steps), steps, strict=False)
        ],
        **more,
    }
    return int(api.post("/api/v1/definitions", json=document).raise_for_status().json()["version"])


def one(api: httpx.Client, workflow: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/api/v1/workflows/{workflow}").raise_for_status().json()
    return found


def test_definitions_say_which_versions_run_and_how_they_ended(api: httpx.Client, worker: PlayedWorker) -> None:
    assert "No definition yet" in text(api.get("/admin/definitions"))
    for _ in range(2):
        start(api, "shipping")
    worker.end(worker.claim()[0], "failed")
    register(api, "shipping", "fetch")
    start_again = {"name": "shipping"}
    api.post("/api/v1/workflows", json=start_again).raise_for_status()
    eventually(lambda: "1 on v2 1 on v1 1 0 % – v2" in text(api.get("/admin/definitions")))
    page = eventually(
        lambda: (found := api.get("/admin/definitions/shipping")) and "1 ended , 0 % succeeded" in text(found) and found
    )
    assert "v2 default 1 0 – – " in text(page)
    (on_old,) = [link for link in links(page) if "version=1&status=pending" in link][-1:]
    assert "shipping v1" in text(api.get(urljoin(str(page.url), on_old)))


def test_a_deleted_definition_is_found_and_says_that_it_starts_nothing(api: httpx.Client) -> None:
    register(api, "gone", "a")
    register(api, "there", "a")
    api.delete("/api/v1/definitions/gone").raise_for_status()
    assert "gone" not in text(api.get("/admin/definitions"))
    assert "gone ⊘ deleted" in text(api.get("/admin/definitions?show=deleted"))
    assert "there" not in text(api.get("/admin/definitions?show=deleted"))
    assert "No definition has “xyz” in its name" in text(api.get("/admin/definitions?name=xyz"))
    assert "This definition is deleted and cannot be started" in text(api.get("/admin/definitions/gone?tab=start"))


def test_many_definitions_come_in_pages(api: httpx.Client) -> None:
    for n in range(52):
        register(api, f"many-{n:02}", "a")
    page = api.get("/admin/definitions?name=many")
    (further,) = [link for link in links(page) if "cursor=" in link]
    rest = text(api.get(urljoin(str(page.url), further)))
    assert "many-49" in text(page)
    assert "many-50" not in text(page)
    assert "many-50" in rest
    assert "many-51" in rest


def test_what_is_not_there_is_said_on_a_page_and_odd_addresses_are_answered(api: httpx.Client) -> None:
    register(api, "shipping", "a")
    for path in (
        "nope",
        "nope%00",
        "shipping?tab=graph&version=9",
        "shipping?tab=document&version=x",
        "shipping?tab=diff&from=0",
        "shipping?tab=diff&from=2147483647&to=1",
        "shipping?before=99999999999999",
        "shipping?tab=start&version=-1",
        "shipping?tab=start&like=nothing",
        "shipping?tab=start&like=0198c2f4-5a3e-7c41-9d3b-0f6b1f0e2a77",
    ):
        page = api.get(f"/admin/definitions/{path}")
        assert page.status_code == 404, path
        assert "Not found" in text(page), path
    for path in (
        "?name=%00", "?cursor=%00", "?cursor=AAAA", "?show=sleeping", f"?name={quote(EVIL)}",
        "/shipping?tab=sleeping", "/shipping?tab=graph&step=no.such", "/shipping?before=1",
    ):  # fmt: skip
        assert api.get(f"/admin/definitions{path}").status_code == 200, path


def test_each_version_has_its_graph_its_document_and_what_it_changed(api: httpx.Client) -> None:
    register(api, "flow", "a", "b", description=EVIL)
    register(api, "flow", "a", "c", description=EVIL, timeout="5m")
    graph = api.get("/admin/definitions/flow?tab=graph&version=1&step=b")
    assert ">b</text>" in graph.text
    assert ">c</text>" not in graph.text
    assert "id: b type: noop depends_on: - a" in text(graph)
    document = text(api.get("/admin/definitions/flow?tab=document&version=2"))
    assert "name: flow" in document
    assert 'timeout: "5m"' in document
    assert '"timeout": "5m"' in text(api.get("/admin/definitions/flow?tab=document&form=json"))
    changed = text(api.get("/admin/definitions/flow?tab=diff"))
    assert "1 step added, 1 removed, 0 changed" in changed
    assert "+ added c" in changed
    assert "− removed b" in changed
    assert '+ timeout: "5m"' in changed
    assert "Unchanged: a ." in changed
    assert "These are the same version" in text(api.get("/admin/definitions/flow?tab=diff&from=2&to=2"))


def test_a_definition_of_too_many_steps_to_draw_says_so(api: httpx.Client) -> None:
    register(api, "large", *(f"s{n}" for n in range(301)))
    page = text(api.get("/admin/definitions/large?tab=graph&step=s7"))
    assert "301 steps are too many to be drawn" in page
    assert "s199 and 101 more" in page
    assert "id: s7 type: noop" in page


def test_lists_of_workflows_can_be_of_one_version(api: httpx.Client, worker: PlayedWorker) -> None:
    first = start(api, "shipping")
    register(api, "shipping", "fetch")
    second = api.post("/api/v1/workflows", json={"name": "shipping"}).raise_for_status().json()["id"]
    for version, ids in ((1, [first]), (2, [second]), (3, [])):
        listed = api.get("/api/v1/workflows", params={"name": "shipping", "version": version}).json()
        assert [workflow["id"] for workflow in listed] == ids
    assert "version 2 ✕" in text(api.get("/admin/workflows?name=shipping&version=2"))
    answer = api.post("/api/v1/workflows/bulk/cancel", params={"version": 1}).raise_for_status().json()
    assert answer["done"] == 1
    assert (one(api, first)["status"], one(api, second)["status"]) == ("cancelled", "pending")


# In a browser --------------------------------------------------------------------------------------------------------


def test_a_workflow_is_started_by_the_form_and_what_is_wrong_is_said_at_the_field(
    api: httpx.Client, worker: PlayedWorker, visit: Visit
) -> None:
    register(api, "shipping", "a", input_schema=SCHEMA)
    page = visit("/admin/definitions")
    page.get_by_role("link", name="Start shipping").click()
    page.get_by_role("button", name="Start shipping").click()
    assert page.get_by_label("Order number").evaluate("field => field.validity.valueMissing")
    page.get_by_label("Order number").fill("0")
    page.locator("[data-pointer='/input/customer/name']").fill("Ann")
    page.locator("[data-pointer='/input/customer/email']").fill("a@b")
    page.locator("[data-pointer='/input/lines']").fill("[{]")
    page.get_by_label("Labels").fill("team")
    go = page.get_by_role("button", name="Start shipping")
    go.click()
    wrong = page.locator(".wrong:visible")
    expect(wrong).to_contain_text("This is not JSON")
    page.locator("[data-pointer='/input/lines']").fill('[{"sku": "A7"}]')
    go.click()
    expect(wrong).to_contain_text("“team” is not a label: write name=value")
    page.get_by_label("Labels").fill("team=payments")
    go.click()
    expect(wrong).to_contain_text(["0 is less than the minimum of 1", "'a@b' is too short"])
    expect(page.get_by_label("Order number")).to_be_focused()
    page.get_by_label("Order number").fill("7")
    page.locator("[data-pointer='/input/customer/email']").fill("ann@example.org")
    page.locator("[data-pointer='/input/tags']").fill("one\n\ntwo")
    page.get_by_label("Idempotency key").fill("once")
    page.locator("#request summary").click()
    command = page.locator("#line pre").inner_text()
    go.click()
    page.wait_for_url("**/admin/workflows/*")
    workflow = page.locator("#workflow-id").inner_text()
    started = one(api, workflow)
    assert started["input"] == {
        "order": 7, "carrier": "ups", "express": False, "tags": ["one", "two"],
        "lines": [{"sku": "A7"}], "customer": {"name": "Ann", "email": "ann@example.org"},
    }  # fmt: skip
    assert started["labels"] == {"team": "payments"}
    assert "-H 'Idempotency-Key: once'" in command

    page.goto(f"/admin/definitions/shipping?tab=start&like={workflow}")
    expect(page.get_by_label("Order number")).to_have_value("7")
    page.get_by_role("button", name="As JSON").click()
    shown = page.get_by_label("The input as JSON")
    shown.fill(shown.input_value().replace('"order": 7', '"order": 8, "size": 3'))
    go.click()
    expect(wrong).to_contain_text("'size' unexpected")
    shown.fill(shown.input_value().replace(', "size": 3', ""))
    go.click()
    page.wait_for_url(lambda url: "/admin/workflows/" in url)
    again = one(api, page.locator("#workflow-id").inner_text())
    assert again["id"] != workflow
    assert (again["input"]["order"], again["input"]["lines"]) == (8, started["input"]["lines"])


def test_new_starts_and_workflows_are_pinned_and_unpinned(
    api: httpx.Client, worker: PlayedWorker, visit: Visit
) -> None:
    old = start(api, "shipping")
    register(api, "shipping", "fetch")
    page = visit("/admin/definitions/shipping")
    dialog = page.locator("#asking")

    def press(name: str, within: str = "#tab-versions") -> None:
        page.locator(within).get_by_role("button", name=name).first.click()
        if dialog.is_visible():
            dialog.locator("button.main").click()

    press("Pin to v2")
    expect(page.locator(".toast.good")).to_contain_text("Pinned to version 2.")
    assert (one(api, old)["version"], one(api, old)["pinned_version"]) == (2, 2)
    expect(page.locator("#tab-versions")).to_contain_text("pinned to")
    press("Unpin")
    expect(page.locator("#tab-versions").get_by_role("button", name="Pin to v2")).to_be_visible()
    assert (one(api, old)["version"], one(api, old)["pinned_version"]) == (1, None)

    page.locator("#about").get_by_role("button", name="Pin a version").click()
    dialog.get_by_label("Version").select_option("1")
    dialog.get_by_role("button", name="Pin a version").click()
    expect(page.locator("#about")).to_contain_text("v1 (pinned)")
    assert api.post("/api/v1/workflows", json={"name": "shipping"}).json()["version"] == 1
    press("Unpin", "#about")
    expect(page.locator("#about")).to_contain_text("v2 (latest)")
    assert api.post("/api/v1/workflows", json={"name": "shipping"}).json()["version"] == 2

    page.goto(f"/admin/workflows/{old}")
    press("Pin version", "#about")
    expect(page.locator("#about")).to_contain_text("Pinned to")
    press("Unpin", "#about")
    expect(page.locator("#about")).not_to_contain_text("Pinned to")


def test_two_versions_are_compared_and_one_is_deleted_and_taken_back(api: httpx.Client, visit: Visit) -> None:
    register(api, "flow", "a", "b")
    register(api, "flow", "a", "b", "c")
    register(api, "flow", "a", "c")
    page = visit("/admin")
    page.keyboard.press("g")
    page.keyboard.press("f")
    page.wait_for_url("**/admin/definitions")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/definitions/flow")
    page.get_by_role("link", name="What version 3 changed").click()
    expect(page.locator("#tab-diff")).to_contain_text("0 steps added, 1 removed, 1 changed")
    page.get_by_label("From").select_option("1")
    expect(page.locator("#tab-diff")).to_contain_text("1 step added, 1 removed, 0 changed")
    page.get_by_role("link", name="Swap").click()
    expect(page.locator("select[name=to]")).to_have_value("1")
    page.get_by_role("button", name="Delete").click()
    page.locator("#asking").get_by_role("button", name="Delete").click()
    expect(page.locator("#about")).to_contain_text("deleted")
    assert api.post("/api/v1/workflows", json={"name": "flow"}).status_code == 409
    page.get_by_role("button", name="Restore").click()
    page.locator("#asking").get_by_role("button", name="Restore").click()
    expect(page.locator("#about")).not_to_contain_text("deleted")
    assert api.post("/api/v1/workflows", json={"name": "flow"}).json()["version"] == 3
