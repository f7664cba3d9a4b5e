"""Approvals, schedules and the outbox: what their pages show, without a browser."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import urljoin

import httpx
import psycopg
import pytest
from support.databases import new_database
from support.eventually import eventually

from workflow_engine.access import make_key

from ...conftest import PlayedWorker, engine_settings, running_engine
from ..test_pages import EVIL, links, text
from .asking import NOBODY, ask, define, emit

FORM = {"type": "object", "properties": {"reason": {"type": "string"}}, "required": ["reason"]}


def row(page: httpx.Response, about: str) -> str:
    """What is read in the row of a table that says this."""
    rows = re.findall(r"<tr.*?</tr>", page.text, re.DOTALL)
    return next(" ".join(re.sub(r"<[^>]*>", " ", each).split()) for each in rows if about in each)


# Approvals ------------------------------------------------------------------------------------------------------------


def test_what_is_due_first_is_on_top_of_what_people_are_asked(
    api: httpx.Client, worker: PlayedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = ask(api, worker, "At no time?")
    later = ask(api, worker, "In two hours?", timedelta(hours=2), assignees=["finance", "ops"])
    soon = ask(api, worker, "Soon?\nAnd more.", timedelta(minutes=5))
    page = api.get("/admin/approvals")
    assert page.text.index(soon) < page.text.index(later) < page.text.index(never)
    assert "for finance, ops" in row(page, later)
    assert re.search(r"Soon\? for anybody asks ask [\d.]+ m?s ago in [45] m", row(page, soon)), row(page, soon)

    monkeypatch.setattr("workflow_engine.dashboard.pages.approvals._ROWS", 1)
    seen, page = [], api.get("/admin/approvals")
    while True:
        seen += [one for one in (soon, later, never) if f"approvals/{one}" in page.text]
        further = [link for link in links(page) if "cursor=" in link]
        if not further:
            break
        page = api.get(urljoin(f"{api.base_url}/admin/approvals", further[-1]))
    assert seen == [soon, later, never]


def test_approvals_that_are_no_longer_open_say_what_became_of_them(
    api: httpx.Client, worker: PlayedWorker, database: psycopg.Connection[Any]
) -> None:
    answered, withdrawn, expired = ask(api, worker, "Yes?"), ask(api, worker, "Gone?"), ask(api, worker, "Over?")
    data = {"outcome": "rejected", "data": {"reason": "too much"}, "by": "ann"}
    api.post(f"/api/v1/approvals/{answered}", json=data).raise_for_status()
    workflow = api.get(f"/api/v1/approvals/{withdrawn}").json()["workflow_id"]
    api.post(f"/api/v1/workflows/{workflow}/cancel").raise_for_status()
    database.execute("update workflow.approvals set expires_at = now() - interval '1 s' where id = %s", [expired])
    for status, there, says in (
        ("answered", answered, "rejected by ann"),
        ("withdrawn", withdrawn, "Gone?"),
        ("expired", expired, "Over?"),
    ):
        page = api.get(f"/admin/approvals?status={status}")
        assert says in row(page, there)
        assert [one for one in (answered, withdrawn, expired) if one in page.text] == [there]
    one = api.get(f"/admin/approvals/{answered}")
    assert "rejected by ann" in text(one)
    assert "too much" in text(one)
    assert "An answer is no longer needed" in text(api.get(f"/admin/approvals/{withdrawn}"))
    assert "Nobody answered in time" in text(api.get(f"/admin/approvals/{expired}"))
    assert "data-action" not in api.get(f"/admin/approvals/{expired}").text
    of_one = api.get(f"/admin/approvals?status=open,withdrawn&workflow_id={workflow}")
    assert withdrawn in of_one.text
    assert answered not in of_one.text


def test_what_is_wrong_with_the_address_of_an_inbox_is_said(api: httpx.Client) -> None:
    for path, says in (
        ("approvals?status=sleeping", "Parameter status"),
        ("approvals?cursor=bm8", "Parameter cursor"),
        ("approvals?whose=mine", "is unknown"),
        ("schedules?state=late", "Parameter state"),
        ("outbox?status=lost", "Parameter status"),
        ("outbox?failing=perhaps", "Parameter failing"),
    ):
        page = api.get(f"/admin/{path}")
        assert page.status_code == 422, path
        assert says in text(page)
    for path in (f"approvals/{NOBODY}", "approvals/x", f"outbox/{NOBODY}", "outbox/x", "schedules/no-such"):
        page = api.get(f"/admin/{path}")
        assert page.status_code == 404, path
        assert "Not found" in text(page)


def test_whoever_is_asked_sees_what_is_for_them_and_nobody_else_a_button(
    server_url: str, template_database: str, redis_server_url: str
) -> None:
    with (
        new_database(server_url, "asked", template=template_database) as url,
        running_engine(engine_settings(url, redis_server_url, WORKFLOW_AUTH="token")) as api,
    ):
        worker = PlayedWorker(url)
        keys: dict[str, dict[str, str]] = {}
        for name, role, groups in (("ann", "starter", ["finance"]), ("bob", "viewer", []), ("eve", "admin", [])):
            key = make_key()
            worker.connection.execute(
                "select workflow.create_api_key(%s, %s, %s, %s, %s)", [key.id, name, [role], groups, key.hash]
            )
            keys[name] = {"Authorization": f"Bearer {key.text}"}
        api.headers.update(keys["eve"])
        theirs = ask(api, worker, "For ops?", assignees=["ops"])
        hers = ask(api, worker, "For finance?", assignees=["finance"])
        worker.connection.close()
        every, mine = (api.get(f"/admin/approvals{query}", headers=keys["ann"]) for query in ("", "?mine=yes"))
        assert "You answer as ann, finance." in text(every)
        assert "For me 1" in text(every)
        assert "Approve" in row(every, hers)
        assert "for others" in row(every, theirs)
        assert theirs not in mine.text
        assert hers in mine.text
        assert "Only ops may answer; you are ann, finance." in text(
            api.get(f"/admin/approvals/{theirs}", headers=keys["ann"])
        )
        looks = api.get(f"/admin/approvals/{hers}", headers=keys["bob"])
        assert "lets you view approvals, but not answer them" in text(looks)
        assert "data-action" not in api.get("/admin/approvals", headers=keys["bob"]).text
        assert row(api.get("/admin/approvals"), theirs).count("Approve") == 1  # an admin stands in for everybody


def test_an_approval_is_answered_where_it_holds_a_workflow_up(api: httpx.Client, worker: PlayedWorker) -> None:
    simple, formal = ask(api, worker, "Go on?"), ask(api, worker, "Why?", form_schema=FORM)
    for approval, offered in ((simple, "Approve"), (formal, "The question")):
        workflow = api.get(f"/api/v1/approvals/{approval}").json()["workflow_id"]
        page = api.get(f"/admin/workflows/{workflow}?tab=why")
        assert offered in text(page)
        assert any(link.endswith(f"/admin/approvals/{approval}") for link in links(page))
    overview = api.get("/admin")
    assert re.search(r"approvals? waits? for people", text(overview))
    assert any(link.endswith("/admin/approvals") for link in links(overview))


def test_what_is_asked_is_shown_and_never_obeyed(api: httpx.Client, worker: PlayedWorker) -> None:
    form = {"type": "object", "title": EVIL, "properties": {EVIL: {"type": "string", "description": EVIL}}}
    asked = ask(api, worker, EVIL, assignees=[EVIL], outcomes=[EVIL, "no"], form_schema=form)
    odd = ask(api, worker, "Form?", form_schema={"$ref": "#/nowhere", "type": 7})
    for path in ("approvals", f"approvals/{asked}"):
        page = api.get(f"/admin/{path}")
        assert "<script>alert" not in page.text
        assert EVIL in text(page)
    assert "Comment" in text(api.get(f"/admin/approvals/{odd}"))  # what is no schema asks for nothing


# Schedules ------------------------------------------------------------------------------------------------------------


def test_schedules_say_when_they_are_due_next_by_their_clock_and_in_utc(api: httpx.Client) -> None:
    define(api, "reports", {"cron": "0 6 1 1 *", "timezone": "Asia/Kolkata"}, {"cron": "0 0 1 7 *", "overlap": "queue"})
    listed = row(api.get("/admin/schedules"), "reports")
    one = text(api.get("/admin/schedules/reports"))
    assert re.search(r"\w{3} 01 Jan 06:00", one), one
    assert re.search(r"\w{3} 01 Jan 00:30", one), one
    assert re.search(r"\w{3} 01 Jul 00:00", one), one
    assert "Asia/Kolkata, and 1 more" in listed
    assert "this one waits" in one
    assert "It has started nothing yet" in one
    api.post("/api/v1/schedules/reports/pause").raise_for_status()
    assert "paused" in row(api.get("/admin/schedules?state=paused"), "reports")
    assert "Not while it is paused" in text(api.get("/admin/schedules/reports"))
    api.post("/api/v1/schedules/reports/resume").raise_for_status()
    assert "reports" not in api.get("/admin/schedules?state=paused").text
    assert "reports" not in api.get("/admin/schedules?name=x").text
    assert "reports" in api.get("/admin/schedules?name=rep").text


def test_the_last_starts_of_a_schedule_are_listed_with_what_became_of_them(
    api: httpx.Client, worker: PlayedWorker
) -> None:
    define(api, "daily", {"cron": "0 6 * * *"})
    started = api.post("/api/v1/schedules/daily/backfill?from=2026-01-01&until=2026-01-04").json()
    assert len(started) == 3
    first = next(claim for claim in worker.claim() if claim["workflow_id"] == started[0]["id"])
    worker.end(first, "failed", error={"type": "http.503", "message": "the warehouse is closed"})
    page = api.get("/admin/schedules/daily")
    assert "2026-01-01 06:00 UTC" in row(page, started[0]["id"])
    assert "failed" in row(page, started[0]["id"])
    assert "the warehouse is closed" in row(page, started[0]["id"])
    assert page.text.index("2026-01-03 06:00") < page.text.index("2026-01-01 06:00")
    workflow = text(api.get(f"/admin/workflows/{started[0]['id']}"))
    assert "Started by its schedule" in workflow


def test_a_schedule_that_could_not_start_what_was_due_is_among_what_needs_attention(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    define(api, "refused", {"cron": "0 0 1 1 *"})
    database.execute(
        "update workflow.schedules set last_error = %s, last_at = now() where name = 'refused'", [f"No {EVIL}"]
    )
    assert "could not start what was due." in text(api.get("/admin"))
    page = api.get("/admin/schedules?state=refused")
    assert "refused" in row(page, ">refused<")
    assert "<script>alert" not in page.text
    assert ": No <script>" in text(api.get("/admin/schedules/refused"))
    database.execute("update workflow.schedules set last_error = null where name = 'refused'")


def test_due_times_of_the_past_are_told_before_they_are_backfilled(api: httpx.Client) -> None:
    define(api, "weekly", {"cron": "0 6 * * 1"}, {"cron": "0 6 5 1 *"})  # the fifth of January 2026 is a Monday
    query = "from=2026-01-01&until=2026-01-15"
    before = api.get(f"/api/v1/schedules/weekly/due-times?{query}").json()
    assert {name: before[name] for name in ("total", "started", "missing", "first", "last")} == {
        "total": 2, "started": 0, "missing": 2, "first": "2026-01-05T06:00:00Z", "last": "2026-01-12T06:00:00Z",
    }  # fmt: skip
    assert [(time["at"], time["position"]) for time in before["times"]] == [
        ("2026-01-05T06:00:00Z", 0), ("2026-01-05T06:00:00Z", 1), ("2026-01-12T06:00:00Z", 0),
    ]  # fmt: skip
    assert api.get("/api/v1/workflows?name=weekly").json() == []
    started = api.post("/api/v1/schedules/weekly/backfill?from=2026-01-01&until=2026-01-06").json()
    after = api.get(f"/api/v1/schedules/weekly/due-times?{query}").json()
    assert (after["started"], after["missing"]) == (1, 1)
    assert [time["workflow_id"] for time in after["times"]] == [started[0]["id"], started[0]["id"], None]
    for query in ("", "?from=x"):
        assert api.get(f"/api/v1/schedules/weekly/due-times{query}").status_code == 422
    assert api.get("/api/v1/schedules/no-such/due-times?from=1d").status_code == 404


# The outbox -----------------------------------------------------------------------------------------------------------


def test_what_does_not_get_through_is_listed_by_target_and_sent_again(
    api: httpx.Client, worker: PlayedWorker, database: psycopg.Connection[Any]
) -> None:
    database.execute("delete from workflow.outbox")
    workflows = [emit(api, worker, workflow_id=NOBODY) for _ in range(3)]
    eventually(lambda: len(api.get("/api/v1/outbox?status=dead").json()) == 3)
    database.execute(
        "update workflow.outbox set kind = 'webhook', target = %s, origin = 'https://a.example.com',"
        " error = 'answered 503' where workflow_id = any(%s::uuid[])",
        [f"https://a.example.com/{EVIL}", workflows[:2]],
    )
    pages = api.get("/admin/outbox"), api.get("/admin/outbox?status=dead&origin=https://a.example.com")
    assert all("<script>alert" not in page.text for page in pages)
    listed = re.compile(r"https://a\.example\.com 2 0 .* ago answered 503")
    eventually(lambda: listed.search(text(api.get("/admin/outbox"))))  # they are looked at every five seconds
    assert workflows[0] in pages[1].text
    assert workflows[2] not in pages[1].text
    (signal,) = api.get(f"/api/v1/outbox?workflow_id={workflows[2]}").json()
    one = text(api.get(f"/admin/outbox/{signal['id']}"))
    assert "There is no such workflow." in one
    assert '"order": 7' in one
    assert "3 deliveries failed for good." in text(api.get("/admin"))

    bulk = "/api/v1/outbox/bulk/retry?origin=https://a.example.com&limit=1"
    would = api.post(f"{bulk}&dry_run=true").json()
    assert (would["dry_run"], would["done"], would["next"] is not None) == (True, 1, True)
    assert len(api.get("/api/v1/outbox?status=dead").json()) == 3
    done = api.post(bulk).json()
    assert (done["done"], api.post(done["next"]).json()) == (
        1, {"dry_run": False, "done": 1, "unchanged": 0, "refused": 0, "next": None},
    )  # fmt: skip
    assert [each["id"] for each in api.get("/api/v1/outbox?status=dead").json()] == [signal["id"]]
    assert api.post("/api/v1/outbox/bulk/retry?status=delivered").status_code == 422


def test_deliveries_that_fail_and_are_tried_again_are_told_from_those_that_wait(
    api: httpx.Client, worker: PlayedWorker, database: psycopg.Connection[Any]
) -> None:
    database.execute("delete from workflow.outbox")
    failing, waiting = emit(api, worker, "failing", workflow_id=NOBODY), emit(api, worker, "waits", workflow_id=NOBODY)
    eventually(lambda: len(api.get(f"/api/v1/outbox?status=dead&workflow_id={waiting}").json()) == 1)
    for workflow, error in ((failing, "refused"), (waiting, None)):
        database.execute(
            "update workflow.outbox set status = 'pending', due_at = now() + interval '1 h', error = %s"
            " where workflow_id = %s",
            [error, workflow],
        )
    page = api.get("/admin/outbox?status=pending")
    assert "failing" in row(page, failing)
    assert "pending" in row(page, waiting)
    assert "Try now" in row(page, waiting)
    only = api.get("/admin/outbox?status=pending&failing=yes")
    assert failing in only.text
    assert waiting not in only.text
    assert [each["workflow_id"] for each in api.get("/api/v1/outbox?failing=true&status=pending").json()] == [failing]
