"""Task types and queues: which is slow, who said what counts, and values that are changed where they stand."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
from playwright.sync_api import Page, expect
from support.eventually import eventually

from workflow_engine.access import make_key

from ..conftest import PlayedWorker, engine_settings, running_engine
from .test_pages import start, text

Visit = Callable[..., Page]
TYPES = "/api/v1/task-types"


def run(api: httpx.Client, worker: PlayedWorker, type: str, seconds: float, outcome: str = "succeeded") -> str:
    """A workflow of one step, whose attempt took so long."""
    workflow = start(api, f"of-{type}", steps=[{"id": f"a-{type}", "type": type, **FIELDS.get(type, {})}])
    (claim,) = worker.claim()
    error = {"error": {"type": "http.503", "message": "busy\nindeed"}} if outcome == "failed" else {}
    worker.end(claim, outcome, **error)
    worker.connection.execute(
        "update workflow.attempt_history set started_at = ended_at - make_interval(secs => %s) where task_id = %s",
        [seconds, claim["task_id"]],
    )
    return workflow


FIELDS = {"http": {"url": "http://127.0.0.1:9/"}}


def rows(page: httpx.Response) -> list[str]:
    """The task types of the first table, in its order."""
    return re.findall(r"task-types/(\w+)[^>]*>\1<", page.text.partition("Did not run")[0])


def test_the_slowest_task_type_comes_first_with_what_fails_and_what_comes_near_its_timeout(
    api: httpx.Client, worker: PlayedWorker
) -> None:
    assert "Nothing ran in this period" in text(api.get("/admin/task-types"))
    for query, says in (  # only what can still be chosen is advised
        ("", "in the last hour To see more, choose a shorter time or look further back."),
        ("?threshold=10s", "in the last hour To see more, look further back."),
        ("?threshold=10s&window=7d", "in the last 7 days All attempts were shorter than that."),
    ):
        assert says in text(api.get(f"/admin/task-types{query}")), query
    slow = run(api, worker, "http", 55)
    run(api, worker, "noop", 2, "failed")
    # Pages keep statistics for as long as a minute where they are dear.
    page = eventually(
        lambda: rows(found := api.get("/admin/task-types?threshold=30s")) == ["http", "noop"] and found, timeout=75
    )
    shown = text(page)
    assert "http Calls an HTTP endpoint 55 s 92 % of its timeout 55 s 55 s 1 0 1 0 1 1 m default 3 default" in shown
    assert "100 % 1" in shown
    assert slow in page.text.partition("Slow attempts")[2]
    assert rows(api.get("/admin/task-types?sort=failing")) == ["noop", "http"]
    for query, fault in (("window=9y", "Parameter window"), ("sort=colour", "failing"), ("threshold=x", "threshold")):
        wrong = api.get(f"/admin/task-types?{query}")
        assert wrong.status_code == 422
        assert fault in text(wrong)


def test_a_task_type_says_who_said_what_counts_what_goes_wrong_and_who_changed_it(
    api: httpx.Client, worker: PlayedWorker
) -> None:
    api.patch(f"{TYPES}/noop", json={"timeout": "5m"}).raise_for_status()
    run(api, worker, "noop", 1, "failed")
    limited = {"id": "b", "type": "noop", "timeout": "7s", "limits": [{"key": "gpu", "concurrency": 3, "rate": "5/m"}]}
    start(api, "limited", steps=[limited])
    shown = text(eventually(lambda: "http.503" in (found := api.get("/admin/task-types/noop")).text and found))
    assert "The task type Set here by operators. 5 m ✓ in effect not set" in shown
    assert "The default WORKFLOW_TASK_TIMEOUT, and three tries. 1 m 3 ✓ in effect" in shown
    assert "timeout: not set → 5 m" in shown
    assert "http.503 1 task" in shown
    assert "limited v1 b default 7.0 s – gpu 3 at once, 5 per 1 m" in shown
    assert "One of the steps below sets its own." in shown
    gone = api.get("/admin/task-types/lmm")
    assert (gone.status_code, "Known are agent," in text(gone)) == (404, True)


def test_a_queue_shows_what_is_next_who_serves_it_and_what_redis_has(api: httpx.Client, worker: PlayedWorker) -> None:
    for priority in (0, 5):
        start(api, f"p{priority}", steps=[{"id": "a", "type": "noop", "queue": "gpu"}], priority=priority)
    start(api, "runs")
    worker.claim()

    def as_postgres_has_it() -> bool:
        return "In Redis 2 as in Postgres" in text(api.get("/admin/queues/gpu"))

    eventually(as_postgres_has_it)
    page = api.get("/admin/queues/gpu?window=24h")
    shown = text(page)
    assert "No active worker serves this queue." in shown
    assert shown.index("p5 ") < shown.index("p0 ")
    default = text(api.get("/admin/queues/default"))
    assert "Running 1 / 5" in default
    assert "runs" in default.partition("longest first")[2]
    assert "played ▶ active 1 / 5" in default
    assert api.get("/admin/queues/gpu?window=1").status_code == 200
    assert api.get("/admin/queues/gpu?window=x").status_code == 422
    unknown = api.get("/admin/queues/gpus")
    assert (unknown.status_code, "Queues with tasks or workers: default, gpu." in text(unknown)) == (404, True)


def test_who_may_only_look_finds_nothing_to_change(database_url: str, redis_url: str, worker: PlayedWorker) -> None:
    key = make_key()
    worker.connection.execute(
        "select workflow.create_api_key(%s, 'eve', '{viewer}', '{}', %s, null)", [key.id, key.hash]
    )
    with running_engine(engine_settings(database_url, redis_url, WORKFLOW_AUTH="token")) as api:
        api.headers["Authorization"] = f"Bearer {key.text}"
        for path in ("/admin/task-types", "/admin/task-types/noop", "/admin/workers"):
            page = api.get(path).raise_for_status().text
            assert "played" in page or "noop" in page
            assert not re.search(r"data-(edit|action)=", page), path


def test_a_task_type_is_changed_where_it_stands_and_who_comes_too_late_is_told(
    api: httpx.Client, worker: PlayedWorker, visit: Visit
) -> None:
    page = visit("/admin/task-types")
    row = page.locator("tr", has=page.get_by_role("link", name="noop", exact=True))
    timeout = row.get_by_role("button", name="Change the timeout of noop")
    timeout.click()
    page.keyboard.type("soon")
    page.keyboard.press("Enter")
    expect(row.locator(".said")).to_contain_text("write 500ms, 30s, 1m30s")
    expect(row.locator(".help")).to_contain_text("a number is seconds")
    page.keyboard.press("Escape")
    expect(timeout).to_have_text("1 m")
    timeout.press("Enter")
    page.keyboard.type("4 min 60 s")
    page.keyboard.press("Enter")
    expect(timeout).to_have_text("5 m")
    expect(page.locator(".toast.good")).to_contain_text("Timeout of noop changed.")
    assert api.get(f"{TYPES}/noop").json()["timeout"] == 300

    row.get_by_role("button", name="Change the tries of noop").click()
    api.patch(f"{TYPES}/noop", json={"max_attempts": 9}).raise_for_status()
    page.keyboard.type("4")
    page.keyboard.press("Enter")
    expect(row.locator(".said")).to_contain_text("somebody set max_attempts to 9 (before: nothing)")
    assert api.get(f"{TYPES}/noop").json()["max_attempts"] == 9
    row.get_by_role("button", name="Save mine").click()
    expect(row.get_by_role("button", name="Change the tries of noop")).to_have_text("4")

    timeout.click()
    page.keyboard.press("Delete")
    page.keyboard.press("Enter")
    expect(timeout).to_have_text("1 m")
    assert (api.get(f"{TYPES}/noop").json()["timeout"], api.get(f"{TYPES}/noop").json()["max_attempts"]) == (None, 4)


def test_a_worker_is_drained_and_undrained(api: httpx.Client, worker: PlayedWorker, visit: Visit) -> None:
    start(api)
    page = visit("/admin/workers")
    row = page.locator("#workers tr", has_text="played")
    row.get_by_role("button", name="Drain").click()
    page.locator("#asking").get_by_role("button", name="Drain").click()
    expect(row).to_contain_text("draining")
    assert worker.claim() == []
    row.get_by_role("button", name="Undrain").click()
    expect(row).to_contain_text("active")
    assert len(worker.claim()) == 1
