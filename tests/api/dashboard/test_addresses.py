"""What stands in the address of a page: whatever it is the page answers, and what is wrong in it harms nobody else."""

from __future__ import annotations

import base64
import re
from html import unescape
from urllib.parse import parse_qs, quote, urljoin, urlsplit

import httpx

from ..conftest import PlayedWorker
from .test_pages import OF_DEFINITION, PAGES, TABS, links, start, text
from .test_task_types import run

ODD = (
    "%00",
    "0" * 20 + "19999999999",
    "9" * 4400,
    "%ED%A0%80",
    quote("../{}%s'\"<?#٣", safe=""),
    "9999-12-31T23:59:59-14:00",
)
CURSORS = [base64.urlsafe_b64encode(text).decode().rstrip("=") for text in (b"\0", b"9" * 30, b"x 0001-01-01")]
ALL = (
    *("name", "status", "cursor", "since", "until", "version", "parent", "sort", "label.x", "limit", "window", "only"),
    *(
        "threshold",
        "show",
        "state",
        "mine",
        "failing",
        "origin",
        "workflow_id",
        "principal",
        "operation",
        "key",
        "kind",
    ),
)


def test_whatever_stands_in_an_address_a_page_answers(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow = start(api)
    below = ("workflows", "tasks", "definitions", "queues", "task-types", "alerts", "approvals", "schedules", "outbox")
    lists = [f"/admin/{page}" for page in ("workflows", "definitions", "approvals", "schedules", "outbox", "audit")]
    asked = []
    for odd in ODD:
        asked += [f"/admin/{page}/{odd}" for page in (*below, "static/x")]
        asked += [f"{page}?{'&'.join(f'{name}={odd}' for name in ALL)}"[:8000] for page in PAGES]
        asked += [f"/admin/workflows/{workflow}?tab={tab}&step={odd}&task=7" for tab in TABS]
        asked += [f"{path.partition('&')[0]}&{name}={odd}" for path in OF_DEFINITION for name in ("version", "step")]
        asked += [f"/admin/definitions/paged?tab=diff&from={odd}", f"/admin/definitions/paged?tab=start&like={odd}"]
    for odd in (*ODD, *CURSORS):
        asked += [f"{page}?cursor={odd}" for page in lists]
        asked += [f"/admin/workflows/{workflow}?tab={tab}&cursor={odd}" for tab in ("timeline", "tasks", "trace")]
        asked += [f"/admin/definitions/paged?before={odd}", f"/admin/workflows/{workflow}?tab=tasks&task={odd}"]
    assert [(path[:200], answer.status_code) for path in asked if (answer := api.get(path)).status_code >= 500] == []


def test_a_step_may_be_called_as_what_catches_errors_is(api: httpx.Client) -> None:
    caught = {"id": "catch", "type": "noop", "timeout": 7}
    step = {"id": "catch", "type": "noop", "on_error": {"catch": [{"errors": ["*"], "steps": [caught]}]}}
    api.post("/api/v1/definitions", json={"name": "catching", "steps": [step]}).raise_for_status()
    path = "/admin/definitions/catching?tab=graph"
    drawn = {step for link in links(api.get(path)) for step in parse_qs(urlsplit(link).query).get("step", ())}
    assert drawn == {"catch", "catch.catch.catch"}
    assert "on_error:" in text(api.get(f"{path}&step=catch"))
    shown = text(api.get(f"{path}&step=catch.catch.catch"))
    assert ("timeout: 7" in shown, "on_error:" in shown) == (True, False)


def test_a_wrong_address_does_not_change_what_others_are_shown(api: httpx.Client, worker: PlayedWorker) -> None:
    run(api, worker, "noop", 20)
    for path in ("/admin/task-types", "/admin/task-types/noop"):
        wrong = api.get(f"{path}?threshold=10s&colour=blue")
        assert wrong.status_code == 422
        assert "No attempt took 60s or longer" in text(wrong)
        assert "No attempt took" not in text(api.get(f"{path}?threshold=10s"))


def test_states_that_are_given_one_by_one_are_the_same_for_all_of_a_page(
    api: httpx.Client, worker: PlayedWorker
) -> None:
    failed = start(api, "alpha")
    (claim,) = worker.claim()
    worker.end(claim, "failed")
    page = api.get("/admin/workflows?status=failed&status=pending&name=alpha", follow_redirects=True)
    assert failed in page.text
    actions = unescape(" ".join(re.findall(r'data-action="([^"]*)"', page.text)))
    assert '"query": {"status": "failed,pending", "name": "alpha"}' in actions
    worker.connection.execute(
        "insert into workflow.outbox (id, workflow_id, task_id, name, kind, target, created_at, due_at)"
        " select gen_random_uuid(), %s, %s, 'paid', 'signal', %s, now(), now() + interval '1 day'"
        " from generate_series(1, 60)",
        [failed, claim["task_id"], failed],
    )
    path = "/admin/outbox?status=pending&status=delivered"
    (older,) = [link for link in links(api.get(path)) if "cursor=" in link]
    assert parse_qs(urlsplit(older).query)["status"] == ["pending", "delivered"]
    assert api.get(urljoin(f"{api.base_url}{path}", older)).text.count("<tr><td>") == 10
