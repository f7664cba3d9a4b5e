"""The pages as they are served, without a browser."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urljoin

import httpx
import psycopg
import pytest
from support.eventually import eventually

from ..conftest import PlayedWorker

PAGES = (
    "/admin",
    "/admin/workflows",
    "/admin/definitions",
    "/admin/queues",
    "/admin/queues/default",
    "/admin/workers",
    "/admin/task-types",
    "/admin/task-types/noop",
    "/admin/alerts",
    "/admin/locks",
    "/admin/audit",
    "/admin/settings",
    "/admin/approvals",
    "/admin/schedules",
    "/admin/outbox",
)
TABS = ("graph", "timeline", "tasks", "log", "io", "events", "locks", "trace", "why", "who")
# Of the definition that `start` makes, which has one version.
OF_DEFINITION = tuple(
    f"/admin/definitions/paged?tab={tab}" for tab in ("versions", "graph&step=process", "document", "diff", "start")
)
STEPS = [
    {"id": "fetch", "type": "noop"},
    {"id": "process", "type": "noop", "depends_on": ["fetch"]},
    {"id": "store", "type": "noop", "depends_on": ["process"]},
]
EVIL = "<script>alert('x')</script>\"'&"


def start(api: httpx.Client, name: str = "paged", **more: object) -> str:
    body = {"name": name, "steps": STEPS, **more}
    return str(api.post("/api/v1/workflows", json=body).raise_for_status().json()["id"])


def links(page: httpx.Response) -> list[str]:
    return [unescape(found) for found in re.findall(r'(?:href|src|action|data-stream|data-root)="([^"]*)"', page.text)]


def text(page: httpx.Response) -> str:
    """What is read on a page, in one line."""
    shown = re.sub(r"<(script|style).*?</\1>", "", page.text, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", shown)).split())


def test_each_page_and_tab_is_html_that_may_load_and_run_nothing_but_files_of_ours(
    api: httpx.Client, worker: PlayedWorker
) -> None:
    workflow = start(api)
    worker.end(worker.claim()[0], "failed", error={"type": "http.503", "message": "busy"})
    for path in (*PAGES, *OF_DEFINITION, *(f"/admin/workflows/{workflow}?tab={tab}" for tab in TABS), "/admin/nowhere"):
        page = api.get(path, headers={"Accept": "text/html"})
        assert page.status_code == (404 if path == "/admin/nowhere" else 200), path
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! (?:type=\"module\" )?src=)", page.text), path
        assert not re.search(r"<[^<>]*=&", page.text), "the quotes of an attribute are escaped"


def test_pages_hold_under_any_prefix_that_a_proxy_gives_them(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow = start(api)
    leads_to = set()
    for path in (*PAGES, *OF_DEFINITION, f"/admin/workflows/{workflow}?tab=tasks", "/admin/no/such/page"):
        found = links(api.get(path))
        assert len(found) > 8
        for link in found:
            assert urljoin(f"http://proxy/tools/engine{path}", link).startswith("http://proxy/tools/engine/"), link
            leads_to.add(urljoin(f"{api.base_url}{path}", link))
    for address in leads_to:
        if "/events" not in address and "/changes" not in address:
            assert api.get(address, follow_redirects=True).status_code in (200, 404), address
    assert api.get("/").headers["location"] == "admin"


def test_what_users_write_is_shown_and_never_obeyed(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow = start(api, labels={"team": EVIL}, input={"note": EVIL})
    worker.end(worker.claim()[0], "failed", error={"type": EVIL, "message": EVIL, "details": {"a": EVIL}})
    for path in (*PAGES, *OF_DEFINITION, *(f"/admin/workflows/{workflow}?tab={tab}" for tab in TABS)):
        page = api.get(path)
        assert "<script>alert" not in page.text, path
    assert EVIL in unescape(api.get(f"/admin/workflows/{workflow}").text)
    odd = api.get("/admin/workflows", params={"name": EVIL, "label.x": EVIL, "since": EVIL})
    assert odd.status_code == 422
    assert "<script>alert" not in odd.text


def test_the_overview_says_what_is_wrong_and_what_to_do(api: httpx.Client, worker: PlayedWorker) -> None:
    assert "No workflow has failed" in text(api.get("/admin"))
    failed = start(api, "broken-one")
    worker.end(worker.claim()[0], "failed", error={"type": "http.503", "message": "the upstream is busy\nand more"})
    start(api, "unserved-one", steps=[{"id": "a", "type": "noop", "queue": "gpu"}])
    eventually(lambda: "No active worker serves queue gpu; 1 task is pending." in text(api.get("/admin")))
    page = api.get("/admin")
    assert f"/workflows/{failed}" in page.text
    assert "the upstream is busy" in text(page)
    assert "No worker serves queue gpu" in text(page)
    worker.stop()
    eventually(lambda: "No worker is active: nothing is run." in text(api.get("/admin")))


def test_the_overview_has_the_workers_that_live_and_the_last_that_died(
    api: httpx.Client, worker: PlayedWorker, database_url: str
) -> None:
    for n in range(12):
        PlayedWorker(database_url, f"gone-{n:02}").close()
    worker.connection.execute(
        "update workflow.workers set last_heartbeat_at = now() - interval '10 minutes' where name like 'gone-%'"
    )
    shown = text(api.get("/admin")).partition("Worker State")[2]
    assert re.findall(r"gone-\d+|played|and 2 more", shown) == [
        *(f"gone-{n:02}" for n in range(11, 1, -1)), "played", "and 2 more"
    ]  # fmt: skip


def test_the_queues_page_shows_each_queue_and_who_does_not_serve_it(api: httpx.Client, worker: PlayedWorker) -> None:
    start(api, steps=[{"id": "a", "type": "noop"}, {"id": "b", "type": "noop", "queue": "gpu"}])
    eventually(lambda: "No active worker serves queue gpu; 1 task is pending." in text(api.get("/admin/queues")))
    shown = text(api.get("/admin/queues"))
    assert re.search(r"default 1 \d+ ms 0 5 0 0|default 1 [\d.]+ s 0 5 0 0", shown), shown


def test_a_paused_engine_says_so_on_every_page(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow = start(api)
    api.post("/api/v1/pause?ttl=1h", json={"reason": EVIL}).raise_for_status()
    for path in (*PAGES, f"/admin/workflows/{workflow}"):
        eventually(lambda: "The engine is paused" in text(api.get(path)))  # noqa: B023
    page = api.get("/admin")
    assert f": “{EVIL}”." in text(page)
    assert "It resumes in 59 m" in text(page)
    assert '"Pause intake"' not in unescape(page.text)
    assert "<script>alert" not in page.text


def test_filters_stand_in_the_address_and_are_those_of_the_api(api: httpx.Client, worker: PlayedWorker) -> None:
    failed = start(api, "alpha", labels={"team": "x"})
    worker.end(worker.claim()[0], "failed")
    live = start(api, "beta")
    for query, there, gone in (
        ("status=failed", failed, live),
        ("status=pending,running", live, failed),
        ("name=alpha", failed, live),
        ("label.team=x", failed, live),
        ("since=1h&name=beta", live, failed),
    ):
        page = api.get(f"/admin/workflows?{query}").text
        assert there in page
        assert gone not in page
    for query, leads in (
        (f"q={failed}", f"../admin/workflows/{failed}"),
        ("q=alpha", "../admin/workflows?name=alpha"),
        ("label=team%3Dx&name=", "../admin/workflows?label.team=x"),
    ):
        answer = api.get(f"/admin/workflows?{query}")
        assert (answer.status_code, answer.headers["location"]) == (303, leads)
    for odd in ("path=x&name=", "self=x&to=y&q=", "label=path%3Dx&self="):
        assert api.get(f"/admin/workflows?{odd}").status_code == 303
    wrong = api.get("/admin/workflows?status=sleeping")
    assert wrong.status_code == 422
    assert "Parameter status" in text(wrong)


def test_each_state_has_its_count_among_those_that_the_other_filters_name(
    api: httpx.Client, worker: PlayedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("alpha", "alpha", "beta", "beta"):
        start(api, name, steps=[{"id": "a", "type": "noop"}])
    claims = worker.claim(3)
    worker.end(claims[0])
    worker.end(claims[1], "failed")
    page = text(api.get("/admin/workflows?status=failed"))
    assert "All Live 2 Pending 1 Running 1 Failed 1 Cancelled Succeeded 1 Definition" in page
    assert "All Live Pending Running Failed 1 Cancelled Succeeded 1 Definition" in text(
        api.get("/admin/workflows?name=alph*&sort=oldest")
    )
    monkeypatch.setattr("workflow_engine.dashboard.pages.workflows.AMONG", 2)
    assert "Live 2+ Pending 1+ Running 1+ Failed 1 Cancelled" in text(api.get("/admin/workflows?since=1h"))


def test_the_order_and_how_long_they_ran_stand_in_the_address_too(api: httpx.Client, worker: PlayedWorker) -> None:
    one = {"name": "many", "steps": STEPS}
    started = api.post("/api/v1/workflows/batch", json=[one] * 60).raise_for_status().json()
    ids = sorted(each["id"] for each in started)  # in the order of lists: those of one moment are in any
    worker.connection.execute(
        "update workflow.workflows set started_at = created_at - interval '2 h' where id = %s", [ids[7]]
    )

    def rows(page: httpx.Response) -> list[str]:
        return re.findall(r'name="id" value="([^"]*)"', page.text)

    oldest = api.get("/admin/workflows?sort=oldest")
    assert rows(oldest) == ids[:50]
    (newer,) = [link for link in links(oldest) if "cursor=" in link]
    assert rows(api.get(urljoin(f"{api.base_url}/admin/workflows", newer))) == ids[50:]
    assert rows(api.get("/admin/workflows?sort=longest"))[0] == ids[7]
    slow = api.get("/admin/workflows?min_duration=90m")
    assert rows(slow) == [ids[7]]
    assert '<option value="90m" selected>90m</option>' in slow.text
    (table,) = [link for link in links(slow) if "format=csv" in link]
    assert ids[7] in api.get(urljoin(f"{api.base_url}/admin/workflows", table)).text
    (table,) = [link for link in links(api.get("/admin/workflows?sort=longest&name=many")) if "format=csv" in link]
    assert ids[7] in api.get(urljoin(f"{api.base_url}/admin/workflows", table)).text


def test_what_is_no_definition_is_looked_for_as_the_beginning_of_one(api: httpx.Client) -> None:
    known = start(api, "data-pipeline")
    found = api.get("/admin/workflows?q=data", follow_redirects=True)
    assert found.url.params["name"] == "data*"
    assert known in found.text
    assert api.get("/admin/workflows?q=data-pipeline").headers["location"].endswith("name=data-pipeline")
    assert "All whose names begin like this" in text(api.get("/admin/workflows?name=data"))


def test_a_workflow_is_found_by_the_end_of_its_id_that_lists_show(
    api: httpx.Client, worker: PlayedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_step = [{"id": "a", "type": "noop"}]
    named = start(api, "deadbeefcafe-import", steps=one_step)
    live, failed, old, new = (start(api, name, steps=one_step) for name in ("live", "failed", "old", "new"))
    for claim in worker.claim():
        if claim["workflow_id"] != live:
            worker.end(claim, "failed" if claim["workflow_id"] == failed else "succeeded")

    def find(sought: str) -> httpx.Response:
        return api.get("/admin/workflows", params={"q": sought})

    for workflow in (live, failed, old, new):
        assert find(workflow[-12:]).headers["location"] == f"../admin/workflows/{workflow}"
    assert find(f" …{new[-12:].upper()}").headers["location"] == f"../admin/workflows/{new}"
    assert named in api.get("/admin/workflows?q=deadbeefcafe", follow_redirects=True).text

    monkeypatch.setattr("workflow_engine.dashboard.pages.workflows._AMONG_IDS", 1)
    assert find(live[-12:]).status_code == find(failed[-12:]).status_code == 303
    missing = find(old[-12:])
    assert missing.status_code == 404
    assert f"No workflow whose id ends in {old[-12:]} is among the newest 1, or among as many" in text(missing)


def test_the_name_of_a_signal_leads_a_button_nowhere_else(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow = start(api, "asking", steps=[{"id": "a", "type": "noop"}])
    name = "../cancel?reason=x"  # an input may say what it is called
    worker.end(worker.claim()[0], "waiting", next="waiting", awaits={"kind": "signal", "name": name})
    page = unescape(api.get(f"/admin/workflows/{workflow}?tab=why").text)
    assert f'"/api/v1/workflows/{workflow}/signal/..%2Fcancel%3Freason%3Dx"' in page


def test_failed_workflows_are_looked_for_among_so_many_cancelled_ones_and_no_more(
    api: httpx.Client, worker: PlayedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = start(api, "old")
    worker.end(worker.claim()[0], "failed")
    for name in ("b", "c"):
        api.post(f"/api/v1/workflows/{start(api, name)}/cancel").raise_for_status()
    monkeypatch.setattr("workflow_engine.store.overview._AMONG_ERRORS", 2)
    page = api.get("/admin/workflows?status=failed")
    assert failed in page.text
    assert failed in api.get("/admin").text  # by its attempt


def test_many_workflows_come_in_pages(api: httpx.Client, worker: PlayedWorker) -> None:
    one = {"name": "many", "steps": STEPS}
    ids = [each["id"] for each in api.post("/api/v1/workflows/batch", json=[one] * 60).raise_for_status().json()]
    first = api.get("/admin/workflows?name=many")
    (older,) = [link for link in links(first) if "cursor=" in link]
    second = api.get(urljoin(f"{api.base_url}/admin/workflows", older))
    shown = [set(re.findall(r'name="id" value="([^"]*)"', page.text)) for page in (first, second)]
    assert shown[0] | shown[1] == set(ids)
    assert not shown[0] & shown[1]
    assert "cursor=" not in "".join(link for link in links(second) if "Newest" in link)


def test_a_rare_workflow_is_found_by_looking_further(
    api: httpx.Client, worker: PlayedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflow_engine.dashboard.pages.workflows.AMONG", 5)
    rare = start(api, "rare")
    for _ in range(8):
        start(api, "common")
    page = api.get("/admin/workflows?name=rare")
    assert rare not in page.text
    assert "among the newest 5" in text(page)
    (further,) = [link for link in links(page) if "cursor=" in link]
    assert rare in api.get(urljoin(f"{api.base_url}/admin/workflows", further)).text


def test_a_workflow_of_too_many_steps_to_draw_is_listed_by_state(api: httpx.Client, worker: PlayedWorker) -> None:
    steps = [{"id": f"s{n}", "type": "noop"} for n in range(301)]
    workflow = start(api, steps=steps)
    worker.end(worker.claim(1)[0], "failed")
    page = text(api.get(f"/admin/workflows/{workflow}"))
    assert "301 steps are too many to be drawn" in page
    assert page.index("✗ failed 1") < page.index("cancelled 300")
    assert "More tasks" in text(api.get(f"/admin/workflows/{workflow}?tab=tasks"))


def test_a_page_that_is_wrong_for_good_does_not_ask_again(api: httpx.Client) -> None:
    for path, status in (
        ("/admin/workflows?status=sleeping", 422),
        ("/admin/audit?status=many", 422),
        ("/admin/nowhere", 404),
        ("/admin/workflows/00000000-0000-0000-0000-000000000007", 404),
        ("/admin/workflows", 200),
    ):
        page = api.get(path)
        asks = status == 200
        assert page.status_code == status, path
        assert (f'id="live" aria-pressed="{str(asks).lower()}"' in page.text, 'http-equiv="refresh"' in page.text) == (
            True,
            asks,
        ), path


def test_who_cancelled_or_paused_it_when_and_why_is_on_its_page_and_in_the_audit_log(
    api: httpx.Client, worker: PlayedWorker
) -> None:
    backing_off = start(api)
    worker.end(worker.claim()[0], "retried", delay=3600, error={"type": "http.503", "message": "busy"})
    cancelled, silent, paused = start(api), start(api), start(api)
    path = "/api/v1/workflows"
    api.post(f"{path}/{backing_off}/pause", json={"reason": "wait for the bank"}).raise_for_status()
    page = text(api.get(f"/admin/workflows/{backing_off}"))
    assert re.search(r"Paused [\d.]+ m?s ago : “wait for the bank”", page)
    assert "Continues in" in page
    api.post(f"{path}/{cancelled}/cancel", json={"reason": "the order was refunded"}).raise_for_status()
    api.post(f"{path}/{silent}/cancel").raise_for_status()
    api.post(f"{path}/{paused}/pause", json={"reason": "the shop is closed"}).raise_for_status()
    assert re.search(
        r"Cancelled [\d.]+ m?s ago : the order was refunded", text(api.get(f"/admin/workflows/{cancelled}"))
    )
    assert "ago : no reason was given." in text(api.get(f"/admin/workflows/{silent}"))
    assert re.search(r"Paused [\d.]+ m?s ago : “the shop is closed”", text(api.get(f"/admin/workflows/{paused}")))
    assert '("the shop is closed")' in text(api.get(f"/admin/workflows/{paused}?tab=why"))
    for page in ("/admin/audit?operation=workflows_cancel", f"/admin/workflows/{cancelled}?tab=who"):
        assert "Reason: “the order was refunded”" in text(api.get(page))
    told = [row["reason"] for row in api.get("/api/v1/audit").json() if row["operation"] != "workflows_create"]
    assert told == ["the shop is closed", None, "the order was refunded", "wait for the bank"]


def test_what_a_page_costs_the_server_is_said_so_that_the_script_asks_no_oftener(api: httpx.Client) -> None:
    for path in PAGES:
        assert re.fullmatch(r"page;dur=[\d.]+", api.get(path).headers["server-timing"])


def test_without_postgres_pages_say_so_and_try_again(api: httpx.Client, database_url: str) -> None:
    name = database_url.rpartition("/")[2].partition("?")[0]
    with psycopg.connect(database_url.replace(f"/{name}", "/postgres"), autocommit=True) as server:
        server.execute(f'alter database "{name}" allow_connections false'.encode())
        try:
            server.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
            page = eventually(lambda: (found := api.get("/admin/queues")).status_code == 503 and found, 30)
        finally:
            server.execute(f'alter database "{name}" allow_connections true'.encode())
    assert "This page tries again every 5 seconds." in text(page)
    eventually(lambda: api.get("/admin/queues").status_code == 200, 30)
