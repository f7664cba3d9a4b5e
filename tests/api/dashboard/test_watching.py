"""What is watched, as it is served: alerts, the audit log, locks, settings; without a browser."""

from __future__ import annotations

import functools
import re
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from support.eventually import eventually

from workflow_engine.dashboard.formats import alert_state
from workflow_engine.dashboard.pages.alerts import PATH
from workflow_engine.dashboard.runbooks import runbook
from workflow_engine.dashboard.told_settings import address, told_settings
from workflow_engine.observability.alert_rules import ELSEWHERE, RULES
from workflow_engine.settings import load_settings

from ..conftest import PlayedWorker, engine_settings, running_engine
from .test_pages import EVIL, links, start, text

seen = functools.partial(eventually, timeout=30)
_RUNBOOKS = Path(__file__).parents[3] / "deploy" / "runbooks"


def hold(worker: PlayedWorker, name: str, *, subject: str = "", severity: str = "critical", minutes: int = 5) -> None:
    """An alert that fires, whatever the leader finds: its rule is of a version that is not known here."""
    worker.connection.execute(
        "insert into workflow.alerts (name, subject, severity, value, threshold, since, fires_at)"
        " select %s, %s, %s, 7, 0, c.now - make_interval(mins => %s), c.now from (select workflow.clock() as now) c",
        [name, subject, severity, minutes],
    )


def let_fire(worker: PlayedWorker) -> None:
    """Let what is pending have been so for an hour."""
    worker.connection.execute(
        "update workflow.alerts set since = since - interval '1 hour', fires_at = fires_at - interval '1 hour'"
    )


def test_each_alert_has_its_page_with_what_to_do_and_leads_to_others(api: httpx.Client, worker: PlayedWorker) -> None:
    leads_to = set()
    for name in (*RULES, *ELSEWHERE):
        page = api.get(f"{PATH}/{name}")
        assert page.status_code == 200, name
        for title in ("Diagnosis", "Mitigation") if name in RULES else ():
            assert f"<h2>{title}</h2>" in page.text, name
        commands = re.findall(
            r"^```[^\n]+\n(.*?)^```", (_RUNBOOKS / f"{name}.md").read_text(), re.DOTALL | re.MULTILINE
        )
        shown = [unescape(command) for command in re.findall(r"data-command>(.*?)</pre>", page.text, re.DOTALL)]
        assert shown == [command.rstrip("\n") for command in commands], name
        for link in links(page):
            if link.startswith("http"):
                assert "/-/blob/main/docs/" in link
            elif "/changes" not in link:
                leads_to.add(urljoin(f"{api.base_url}{PATH}/{name}", link))
    for url in leads_to:
        assert api.get(url, follow_redirects=True).status_code == 200, url
    shown = links(api.get(f"{PATH}/WorkflowFailureRate"))
    assert "../../admin/workflows?status=failed&since=24h" in shown, "where the failures are is one click away"
    assert "../../admin/task-types?sort=failing" in shown
    unknown = api.get(f"{PATH}/NoSuch")
    assert (unknown.status_code, "There is no such alert" in text(unknown)) == (404, True)
    assert api.get(f"{PATH}/..%2F..%2Fpyproject").status_code == 404
    assert runbook("../README") is None


def test_what_fires_is_on_every_page_until_it_is_over(
    api: httpx.Client, worker: PlayedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = start(api, steps=[{"id": "a", "type": "noop", "queue": "gpu"}])
    seen(lambda: "No worker serves the queue gpu" in text(api.get("/admin/alerts")))
    assert "No worker serves the queue gpu" not in text(api.get("/admin/workers")), "it does not fire yet"
    let_fire(worker)
    for path in ("/admin", "/admin/workers", "/admin/settings", f"/admin/workflows/{workflow}"):
        # The overview has it among what needs attention, with how many tasks wait for it.
        says = "No active worker serves queue gpu" if path == "/admin" else "No worker serves the queue gpu"
        seen(lambda: says in text(api.get(path)))  # noqa: B023
        assert "/admin/alerts/WorkflowQueueUnserved" in api.get(path).text
    overview = text(api.get("/admin"))
    assert "No active worker serves queue gpu; 1 task is pending." in overview
    assert "An alert fires" not in overview, "what is said with what mends it is not said twice"
    page = text(api.get("/admin/alerts"))
    assert "Tasks that are pending in the queue gpu, which no active worker serves: 1." in page
    api.post(f"/api/v1/workflows/{workflow}/cancel").raise_for_status()
    seen(lambda: "No worker serves the queue gpu" not in text(api.get("/admin/workers")))
    seen(
        lambda: re.search(
            r"Past alerts What was wrong.* No worker serves the queue gpu", text(api.get("/admin/alerts"))
        )
    )


def test_what_follows_from_another_alert_is_shown_as_that_and_told_nowhere_else(
    api: httpx.Client, worker: PlayedWorker
) -> None:
    worker.stop()
    start(api, steps=[{"id": "a", "type": "noop", "queue": "gpu"}])
    names = {"AllWorkersDown", "WorkflowQueueUnserved"}
    seen(lambda: names <= {alert["name"] for alert in api.get("/api/v1/alerts").json()})
    let_fire(worker)
    seen(lambda: "No worker takes tasks" in text(api.get("/admin/queues")))
    assert "No worker serves the queue gpu" not in text(api.get("/admin/queues"))
    seen(lambda: "It is a consequence of AllWorkersDown." in text(api.get("/admin/alerts")))


def test_an_alert_of_a_later_version_is_shown_all_the_same(
    database_url: str, redis_url: str, worker: PlayedWorker
) -> None:
    settings = engine_settings(database_url, redis_url, WORKFLOW_SWEEP_SECONDS=1000)  # nobody looks meanwhile
    with running_engine(settings) as api:
        seen(lambda: worker.connection.execute("select true from workflow.watched").fetchone())
        hold(worker, EVIL)
        seen(lambda: EVIL in unescape(api.get("/admin/alerts").text))
        assert "<script>alert" not in api.get("/admin/alerts").text
        assert api.get("/api/v1/alerts").json()[0]["summary"] == EVIL


@pytest.mark.parametrize("state", ["firing", "pending"])
def test_how_an_alert_stands_is_said_in_words(state: str) -> None:
    words = {"firing": "critical", "pending": "pending"}
    assert f"</span>{words[state]}</span>" in alert_state(state, "critical")


def ask(api: httpx.Client) -> dict[str, str]:
    """Several things of several workflows; the ids of workflows by what was asked of them."""
    ids = {name: start(api, name) for name in ("cancelled", "paused")}
    api.post(f"/api/v1/workflows/{ids['cancelled']}/cancel", json={"reason": "x"}).raise_for_status()
    api.post(f"/api/v1/workflows/{ids['paused']}/pause").raise_for_status()
    assert api.post(f"/api/v1/workflows/{ids['cancelled']}/pause").status_code == 409
    return ids


def test_the_audit_log_is_filtered_as_in_the_api(api: httpx.Client, worker: PlayedWorker) -> None:
    ids = ask(api)
    everything = text(api.get("/admin/audit"))
    assert "Cancel a workflow Reason: “x” workflows_cancel · POST /api/v1/workflows/" in everything
    for query, there, gone in (
        ("operation=workflows_cancel", "cancelled", "paused"),
        (f"workflow_id={ids['paused']}", "paused", "cancelled"),
        ("status=409", "cancelled", "paused"),
        ("since=1h&operation=workflows_pause&status=200", "paused", "cancelled"),
    ):
        page = api.get(f"/admin/audit?{query}").text
        assert f"/admin/workflows/{ids[there]}" in page, query
        assert f"/admin/workflows/{ids[gone]}" not in page, query
    assert "No entry matches these filters" in text(api.get("/admin/audit?since=1h&principal=nobody"))
    assert "No entry matches these filters" in text(api.get("/admin/audit?until=2020-01-01"))
    form = api.get("/admin/audit?operation=workflows_cancel&principal=&status=")
    assert (form.status_code, form.headers["location"]) == (303, "../admin/audit?operation=workflows_cancel")
    for wrong in ("status=many", "workflow_id=x", "since=yesterday", "colour=blue", "cursor=x"):
        page = api.get(f"/admin/audit?{wrong}")
        assert page.status_code == 422, wrong
        assert "Parameter" in text(page)


def test_the_audit_log_comes_in_pages_and_what_is_rare_is_found_by_looking_further(
    api: httpx.Client, worker: PlayedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = ask(api)
    one = {"name": "many", "steps": [{"id": "a", "type": "noop"}]}
    for _ in range(60):
        api.post("/api/v1/workflows", json=one).raise_for_status()

    def pages(query: str) -> list[str]:
        found, url = [], f"/admin/audit?{query}"
        while url:
            page = api.get(url)
            found.append(page.text)
            further = [
                link for link in links(page) if "cursor=" in link and "operation" not in link.partition("cursor")[2]
            ]
            older = re.search(r'<a href="([^"]*cursor=[^"]*)">(?:Search further|Older)', page.text)
            assert older is None or unescape(older[1]) in further or query
            url = urljoin(f"{api.base_url}/admin/audit", unescape(older[1])) if older else ""
        return found

    everything = pages("")
    assert len(everything) == 2
    rows = [re.findall(r"<tr><td", page) for page in everything]
    assert [len(found) for found in rows] == [50, 15]
    monkeypatch.setattr("workflow_engine.dashboard.pages.audit.AMONG", 25)
    looked = pages("operation=workflows_cancel")
    assert len(looked) == 3
    assert "among the newest 25" in unescape(looked[0])
    assert ids["cancelled"] in looked[-1]
    assert len(pages(f"workflow_id={ids['cancelled']}")) == 1, "it has an index"
    monkeypatch.setattr("workflow_engine.api.routes.audit._AMONG", 25)
    answer, found = api.get("/api/v1/audit?operation=workflows_cancel"), 0
    while True:
        found += len(answer.json())
        if "next" not in answer.links:
            break
        answer = api.get(answer.links["next"]["url"])
    assert found == 1


def locked(api: httpx.Client, name: str, key: str) -> str:
    steps = [{"id": "a", "type": "noop", "locks": [key]}]
    return start(api, name, steps=steps)


def test_locks_are_listed_with_who_holds_them_and_who_waits(api: httpx.Client, worker: PlayedWorker) -> None:
    assert "No lock or limit is in use" in text(api.get("/admin/locks"))
    holder = locked(api, "holding", "printer")
    worker.claim()
    waiting = [locked(api, "waiting", "printer") for _ in range(5)]
    other = locked(api, "other", "scanner")
    worker.claim()
    page = api.get("/admin/locks")
    assert f"/admin/workflows/{holder}" in page.text
    assert all(f"/admin/workflows/{each}" in page.text for each in waiting)
    assert "2 more" in text(page)
    assert other in page.text
    only = api.get("/admin/locks?key=print")
    assert (holder in only.text, other in only.text) == (True, False)
    assert other not in api.get("/admin/locks?kind=waited").text
    assert "No lock or limit in use matches these filters" in text(api.get("/admin/locks?kind=limit"))
    assert api.get("/admin/locks?kind=nonsense").status_code == 200


def test_more_locks_than_a_page_looks_at_are_said_to_be_and_found_by_the_beginning_of_their_keys(
    api: httpx.Client, worker: PlayedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflow_engine.dashboard.pages.locks.MOST", 2)
    for key in ("a1", "a2", "a3", "z"):
        locked(api, f"of-{key}", key)
    start(api, steps=[{"id": "a", "type": "noop", "limits": [{"key": "model", "concurrency": 8, "units": 3}]}])
    worker.claim()
    page = text(api.get("/admin/locks"))
    assert "More than 2 are in use." in page
    assert "model limit" not in page
    assert "More than" not in (found := text(api.get("/admin/locks?key=z")))
    assert "z lock 1 of-z" in found
    assert "model limit 3 of 8" in text(api.get("/admin/locks?kind=limit"))


def test_workflows_that_wait_for_each_other_are_shown_as_a_circle(
    database_url: str, redis_url: str, worker: PlayedWorker
) -> None:
    def crossing(first: str, second: str) -> dict[str, Any]:
        return {
            "name": f"{first}-{second}",
            "steps": [
                {"id": "a", "type": "noop", "locks": [{"key": first, "scope": "workflow"}]},
                {"id": "b", "type": "noop", "locks": [{"key": second, "scope": "workflow"}], "depends_on": ["a"]},
            ],
        }

    with running_engine(engine_settings(database_url, redis_url)) as api:
        ids = [
            api.post("/api/v1/workflows", json=body).raise_for_status().json()["id"]
            for body in (crossing("x", "y"), crossing("y", "x"))
        ]
        for claim in worker.claim():
            worker.end(claim)
        worker.claim()
        page = seen(lambda: "these workflows wait for each other" in (found := api.get("/admin/locks")).text and found)
        assert all(f"/admin/workflows/{each}" in page.text for each in ids)
        seen(lambda: "Workflows wait for each other's locks" in text(api.get("/admin/workers")))


def test_settings_are_shown_with_where_they_came_from_and_without_secrets(database_url: str, redis_url: str) -> None:
    secret = "s3cr3t-of-ours"
    settings = engine_settings(
        database_url,
        redis_url,
        WORKFLOW_LLM_API_KEY=secret,
        WORKFLOW_CONNECTIONS=f'{{"reports": {{"url": "postgresql://me:{secret}@db/x?sslpassword={secret}",'
        ' "read_only": true}}',
        WORKFLOW_MCP_SERVERS=f'{{"hooks": {{"url": "https://{secret}@hooks.example.com/{secret}",'
        f' "headers": {{"Authorization": "{secret}"}}}}}}',
        OTEL_EXPORTER_OTLP_HEADERS=f"authorization={secret}",
        WORKFLOW_WEBHOOK_SECRET=secret,
    )
    with running_engine(settings) as api:
        page = api.get("/admin/settings")
        assert secret not in page.text
        shown = text(page)
        assert "WORKFLOW_LLM_API_KEY set, not shown" in shown
        assert "reports (postgresql://me@db/x, read only)" in shown
        assert "hooks (https://hooks.example.com)" in shown
        assert "WORKFLOW_POLL_SECONDS 1 default" in shown
        assert re.search(r"WORKFLOW_SWEEP_SECONDS 0.5 command line", shown)
        only = text(api.get("/admin/settings?only=set&q=sweep"))
        assert "WORKFLOW_SWEEP_SECONDS" in only
        assert "WORKFLOW_POLL_SECONDS" not in only
        seen(lambda: "this one" in text(api.get("/admin/settings")))
        assert "No setting matches" in text(api.get("/admin/settings?q=nonsense"))


def test_where_a_setting_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKFLOW_POLL_SECONDS", "2")
    monkeypatch.setenv("PORT", "4000")
    origins = {
        one.name: (one.shown, one.origin)
        for one in told_settings(load_settings(PORT=4001), {"PORT": "4000", "WORKFLOW_POLL_SECONDS": "2"})
    }
    assert origins["WORKFLOW_POLL_SECONDS"] == ("2", "environment")
    assert origins["PORT"] == ("4001", "command line")
    assert origins["WORKFLOW_SWEEP_SECONDS"] == ("5", "default")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:pw@db:5432/x?password=pw", "postgresql://me@db:5432/x"),
        ("redis://:pw@redis:6379/0", "redis://redis:6379/0"),
        ("https://token@example.com/hook/pw?key=pw#pw", "https://example.com"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("host=db password=pw", ""),
        ("postgresql://db:port/x", ""),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert address(url) == shown
