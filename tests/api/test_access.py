"""With keys: who is let in, who may do what, and what the audit log says of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from fastapi.routing import iter_route_contexts
from support.eventually import eventually

from workflow_engine.access import ROLES, Role, Scope
from workflow_engine.api import authentication, streams
from workflow_engine.api.entering import declared_scope
from workflow_engine.asgi import create_app
from workflow_engine.client.http import Client
from workflow_engine.errors import ServerRefused, SettingsInvalid
from workflow_engine.settings import load_settings

from .conftest import PlayedWorker
from .keyed import NOBODY, ONE_STEP, WORKFLOWS, Keyed

APP = create_app(load_settings())
DOCUMENT: dict[str, Any] = APP.openapi()


# The matrix -----------------------------------------------------------------------------------------------------------


def routes() -> Iterator[tuple[str, str, Scope | None]]:
    """Each method and path there is, with its scope, also of those that the OpenAPI document does not have."""
    for context in iter_route_contexts(APP.routes):
        for method in sorted(getattr(context, "methods", None) or ()):
            if method in ("GET", "POST", "PUT", "PATCH", "DELETE") and hasattr(context.original_route, "endpoint"):
                yield method, str(context.path), declared_scope(context.original_route)


ROUTES = sorted(set(routes()) - {("GET", "/openapi.json", None)}, key=str)


def test_every_route_declares_its_scope() -> None:
    assert [(method, path) for method, path, scope in ROUTES if scope is None] == []
    assert len(ROUTES) > 70


def test_what_is_open_to_everybody_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    told = page.split("Open to everybody", 1)[1].split("\n\n", 1)[0]
    documented = set(re.findall(r"`(/[^`]*)`", told)) - {"/openapi.json", "/api/v1/whoami"}
    opened = {path.removeprefix("/api/v1") for _, path, scope in ROUTES if scope is Scope.OPEN}
    parts = {path for path in opened for whole in ("/docs", "/problems") if path.startswith(f"{whole}/")}
    assert documented == opened - parts


def test_the_document_says_of_every_operation_which_scope_it_asks_for() -> None:
    declared = {(method, path): scope for method, path, scope in ROUTES}
    for path, item in DOCUMENT["paths"].items():
        for method, described in item.items():
            scope = Scope(described["x-scope"])
            assert declared[(method.upper(), path)] is scope
            assert ("security" in described) is (scope is not Scope.OPEN)
            assert ({"401", "403"} <= set(described["responses"])) is (scope is not Scope.OPEN)


def test_what_only_reads_asks_for_a_scope_that_only_reads() -> None:
    for method, path, scope in ROUTES:
        assert scope is not None
        reads = scope.endswith(":read") or scope in (Scope.OPEN, Scope.ANY_KEY)
        checks = path.endswith("/definitions/validate")
        assert (reads == (method == "GET")) or checks, (method, path)


def test_each_route_lets_in_the_roles_that_have_its_scope_and_nobody_else(
    keyed: Keyed, roles: dict[str, dict[str, str]]
) -> None:
    wrong = []
    for method, path, scope in ROUTES:
        assert scope is not None
        url = path.replace("{workflow_id}", NOBODY).replace("{approval_id}", NOBODY).replace("{delivery_id}", NOBODY)
        url = url.replace("{task_id}", "7").replace("{version}", "1")
        for name in ("name", "task_type"):
            url = url.replace(f"{{{name}}}", "unknown")
        for who, headers in {"nobody": {}, **roles}.items():
            with keyed.api.stream(method, url, headers=headers) as answer:  # some go on for ever
                status = answer.status_code
            if scope is Scope.OPEN:
                right = status not in (401, 403)
            elif who == "nobody":
                right = status == 401
            elif scope in ROLES[Role(who)]:
                right = status not in (401, 403)
            else:
                right = status == 403
            if not right or status == 500:
                wrong.append((method, path, scope.value, who, status))
    keyed.api.post("/api/v1/resume", headers=roles["admin"])
    assert wrong == []


# Keys -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer wfk_x", "wfk_x", "Token abc", "Basic", "Basic !!!", "Basic d2ZrOng=", "Bearer ü"],
)
def test_without_a_good_key_nobody_is_let_in(keyed: Keyed, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode()}
    answer = keyed.api.get(WORKFLOWS, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith('Bearer realm="workflow-engine"')
    assert "Authorization: Bearer" in answer.json()["hint"] or "GET only" in answer.json()["detail"]


def test_a_key_is_good_with_its_own_secret_alone(keyed: Keyed) -> None:
    good = keyed.key("ann", "viewer")["Authorization"]
    assert keyed.api.get(WORKFLOWS, headers={"Authorization": good}).status_code == 200
    other = keyed.key("bob", "viewer")["Authorization"]
    mixed = good[: good.rindex("_")] + other[other.rindex("_") :]
    for wrong in (mixed, good[:-1], good + "x", f"{good}, {good}"):
        assert keyed.api.get(WORKFLOWS, headers={"Authorization": wrong}).status_code == 401
    twice = [("Authorization", good), ("Authorization", good)]
    assert keyed.api.get(WORKFLOWS, headers=twice).status_code == 401
    assert keyed.api.get(f"{WORKFLOWS}?token={good[7:]}").status_code == 401, "never in a URL"
    assert keyed.api.get(WORKFLOWS, headers={"Authorization": good.replace("Bearer", "bearer ")}).status_code == 200


def test_a_key_that_was_revoked_or_has_expired_is_told_so_and_is_no_good(
    keyed: Keyed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "FRESH_SECONDS", 0.0)
    revoked, expired = keyed.key("gone", "viewer"), keyed.key("old", "viewer", lifetime="1 hour")
    for headers in (revoked, expired):
        assert keyed.api.get(WORKFLOWS, headers=headers).status_code == 200
    keyed.database.execute("select workflow.revoke_api_keys('gone')")
    keyed.database.execute("update workflow.api_keys set expires_at = now() where name = 'old'")
    for headers, said, name in ((revoked, "was revoked", "gone"), (expired, "has expired", "old")):
        answer = keyed.api.get(WORKFLOWS, headers=headers)
        assert (answer.status_code, said in answer.json()["detail"]) == (401, True)
        (row,) = keyed.audit(principal=name, status=401)
        assert (row["operation"], row["key_id"]) == ("workflows_list", keyed.ids[name])


def test_a_key_ends_while_it_is_remembered(keyed: Keyed) -> None:
    headers = keyed.key("brief", "viewer", lifetime="700 milliseconds")
    assert keyed.api.get(WORKFLOWS, headers=headers).status_code == 200
    eventually(lambda: keyed.api.get(WORKFLOWS, headers=headers).status_code == 401)


def test_what_is_followed_ends_when_its_key_is_revoked(keyed: Keyed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(authentication, "FRESH_SECONDS", 0.1)
    mine, other = keyed.key("follows", "admin"), keyed.key("follows-too", "viewer")
    workflow = keyed.api.post(WORKFLOWS, json={"name": "followed", "steps": ONE_STEP}, headers=mine).json()["id"]
    path = f"{WORKFLOWS}/{workflow}/events"
    with keyed.api.stream("GET", path, headers=other) as kept, keyed.api.stream("GET", path, headers=mine) as ended:
        lines = kept.iter_lines()
        assert any("workflow.created" in line for line in lines)
        keyed.database.execute("select workflow.revoke_api_keys(%s)", [keyed.ids["follows"]])
        assert "event: end" not in list(ended.iter_lines())
        assert next(line for line in lines if line) == ":", "it goes on"


def test_a_key_in_a_reason_is_hidden_wherever_the_reason_is_shown(keyed: Keyed) -> None:
    mine = keyed.key("secretive", "admin")
    secret = mine["Authorization"].rpartition("_")[2]
    asked = {"reason": f"the old key was {mine['Authorization']}"}
    workflow = keyed.api.post(WORKFLOWS, json={"name": "held", "steps": ONE_STEP}, headers=mine).json()["links"]["self"]
    told = [
        keyed.api.post(path, json=asked, headers=mine).raise_for_status().text
        for path in (f"{workflow}/pause", f"{workflow}/cancel", "/api/v1/pause")
    ]
    keyed.api.post("/api/v1/resume", headers=mine)
    told += [keyed.api.get(f"{workflow}{part}", headers=mine).text for part in ("", "/why", "/logs", "/events")]
    assert [text for text in told if secret in text] == []
    (row,) = keyed.audit(principal="secretive", operation="engine_pause")
    assert row["reason"].startswith("the old key was ")
    assert secret not in row["reason"]


def test_that_a_key_is_used_is_noted(keyed: Keyed) -> None:
    headers = keyed.key("noted", "viewer")
    used = "select last_used_at from workflow.api_key_list where name = 'noted'"
    assert keyed.value(used) is None
    keyed.api.get(WORKFLOWS, headers=headers)
    assert keyed.value(used) is not None


def test_an_outage_is_seen_with_a_key_that_was_good_before(keyed: Keyed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "FRESH_SECONDS", 0.0)
    seen, unseen = keyed.key("watcher", "viewer"), keyed.key("stranger", "viewer")
    assert keyed.api.get("/metrics", headers=seen).status_code == 200
    found = keyed.value("select pg_get_functiondef('workflow.find_api_keys'::regproc)")
    away = "begin raise 'The database system is starting up.' using errcode = '57P03'; end"
    head, _, _ = found.partition("$function$")  # ends with AS
    keyed.database.execute(f"{head} $$ {away} $$".encode())
    try:
        assert keyed.api.get("/metrics", headers=seen).status_code == 200
        assert "checks" in keyed.api.get("/health", headers=seen).json()
        assert "checks" not in keyed.api.get("/health", headers=unseen).json()
        for path, headers in ((WORKFLOWS, seen), ("/metrics", unseen)):
            answer = keyed.api.get(path, headers=headers)
            said = (answer.status_code, answer.json()["code"], "retry-after" in answer.headers)
            assert said == (503, "unavailable", True)
    finally:
        keyed.database.execute(found.encode())
    assert keyed.api.get(WORKFLOWS, headers=seen).status_code == 200


def test_several_roles_add_up(keyed: Keyed) -> None:
    headers = keyed.key("both", "operator", "author")
    who = keyed.api.get("/api/v1/whoami", headers=headers).json()
    assert who["roles"] == ["operator", "author"]
    assert {"definitions:write", "engine:control"} <= set(who["scopes"])
    assert "audit:read" not in who["scopes"]


def test_the_client_of_the_commands_shows_its_key(keyed: Keyed) -> None:
    text = keyed.key("commands", "viewer")["Authorization"].removeprefix("Bearer ")
    with Client(str(keyed.api.base_url), token=text) as client:
        assert client.get("/whoami")["name"] == "commands"
    with Client(str(keyed.api.base_url)) as client, pytest.raises(ServerRefused, match="This needs a key") as refused:
        client.get("/whoami")
    assert (refused.value.status, "token create" in str(refused.value.hint)) == (401, True)


def test_a_refusal_names_what_is_missing(keyed: Keyed, roles: dict[str, dict[str, str]]) -> None:
    answer = keyed.api.post(f"{WORKFLOWS}/{NOBODY}/cancel", headers=roles["viewer"])
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "workflows:control" in answer.json()["detail"]
    assert 'scope="workflows:control"' in answer.headers["www-authenticate"]


def test_who_brings_steps_needs_the_right_to_define(keyed: Keyed, roles: dict[str, dict[str, str]]) -> None:
    body = {"name": "mine", "steps": ONE_STEP}
    for path, given in ((WORKFLOWS, body), (f"{WORKFLOWS}/batch", [body])):
        refused = keyed.api.post(path, json=given, headers=roles["starter"])
        assert (refused.status_code, "definitions:write" in refused.json()["detail"]) == (403, True)
    assert keyed.value("select count(*) from workflow.definitions where name = 'mine'") == 0
    assert keyed.api.post(WORKFLOWS, json=body, headers=roles["author"]).status_code == 202
    assert keyed.api.post(WORKFLOWS, json={"name": "mine"}, headers=roles["starter"]).status_code == 202


def test_browsers_may_read_with_a_password_and_change_nothing(keyed: Keyed, roles: dict[str, dict[str, str]]) -> None:
    page = keyed.api.get("/admin/queues", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["www-authenticate"].split()[0]) == (401, "Basic")
    text = roles["admin"]["Authorization"].removeprefix("Bearer ")
    shown = keyed.api.get("/admin/queues", auth=("ann", text))
    assert (shown.status_code, "Authentication is off" in shown.text) == (200, False)
    refused = keyed.api.post("/api/v1/resume", auth=("ann", text))
    assert (refused.status_code, "GET only" in refused.json()["detail"]) == (401, True)


def test_what_a_page_asks_of_the_api_gets_the_password_that_the_browser_has_for_pages(keyed: Keyed) -> None:
    for method, path, headers in (
        ("POST", "/api/v1/resume", {"X-Requested-With": "workflow-engine"}),
        ("GET", f"{WORKFLOWS}/{NOBODY}/events", {"Accept": "text/event-stream"}),
    ):
        answer = keyed.api.request(method, path, headers=headers)
        kinds = [challenge.split()[0] for challenge in answer.headers.get_list("www-authenticate")]
        assert (answer.status_code, kinds) == (401, ["Bearer", "Basic"])
    assert keyed.api.post("/api/v1/resume").headers["www-authenticate"].split()[0] == "Bearer"


def test_our_pages_may_change_something_with_a_password_and_no_other_page(
    keyed: Keyed, roles: dict[str, dict[str, str]]
) -> None:
    text = roles["operator"]["Authorization"].removeprefix("Bearer ")
    ours = {"X-Requested-With": "workflow-engine"}  # a page of another origin may not add it: there is no CORS
    assert keyed.api.post("/api/v1/resume", auth=("ann", text), headers=ours).status_code == 200
    foreign = {**ours, "Origin": "https://evil.example"}
    assert keyed.api.post("/api/v1/resume", auth=("ann", text), headers=foreign).status_code == 403
    asked = keyed.api.options(
        "/api/v1/resume", headers={**foreign, "Access-Control-Request-Headers": "x-requested-with"}
    )
    assert "access-control-allow-origin" not in asked.headers
    reader = roles["viewer"]["Authorization"].removeprefix("Bearer ")
    assert keyed.api.post("/api/v1/resume", auth=("bob", reader), headers=ours).status_code == 403


def test_probes_need_no_key_and_strangers_learn_nothing_of_the_installation(
    keyed: Keyed, roles: dict[str, dict[str, str]]
) -> None:
    for path in ("/livez", "/readyz", "/api/v1/livez", "/api/v1/readyz"):
        assert keyed.api.get(path).json() == {"status": "ok"}
    for headers in ({}, {"Authorization": "Bearer wfk_x"}):
        assert keyed.api.get("/health", headers=headers).json() == {"status": "degraded"}
    whole = keyed.api.get("/health", headers=roles["viewer"]).json()
    assert (whole["auth"], set(whole["checks"]) >= {"postgres", "workers"}) == ("token", True)
    assert keyed.api.get("/metrics").status_code == 401
    assert "workflow_requests_refused_total" in keyed.api.get("/metrics", headers=roles["viewer"]).text


# Who is known to the rest ---------------------------------------------------------------------------------------------


def test_a_workflow_says_who_started_it_and_keys_of_two_principals_do_not_meet(keyed: Keyed) -> None:
    ann, bob, ann_too = keyed.key("ann", "author"), keyed.key("bob", "author"), keyed.key("ann", "admin")
    body = {"name": "whose", "steps": ONE_STEP}

    def start(headers: dict[str, str]) -> httpx.Response:
        return keyed.api.post(WORKFLOWS, json=body, headers={**headers, "Idempotency-Key": "the same"})

    first, other, again = start(ann), start(bob), start(ann_too)
    assert first.json()["id"] == again.json()["id"] != other.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"
    shown = keyed.api.get(first.headers["location"], headers=bob).json()
    assert shown["created_by"] == "ann"
    plain = keyed.api.post(WORKFLOWS, json={"name": "whose"}, headers=bob).headers["location"]
    assert keyed.api.get(plain, headers=ann).json()["created_by"] == "bob"
    listed = keyed.api.get(f"{WORKFLOWS}?name=whose", headers=ann).json()
    assert [workflow["created_by"] for workflow in listed] == ["bob", "bob", "ann"]
    keyed.api.post(f"{plain}/cancel", headers=ann)
    rerun = keyed.api.post(f"{plain}/rerun", headers=ann).json()
    assert keyed.api.get(rerun["links"]["self"], headers=ann).json()["created_by"] == "ann"


@pytest.fixture
def asked(keyed: Keyed, roles: dict[str, dict[str, str]]) -> Iterator[Callable[..., str]]:
    """Makes a workflow ask; the link of its approval."""
    worker = PlayedWorker(keyed.database_url, "asker")

    def ask(*assignees: str) -> str:
        started = keyed.api.post(WORKFLOWS, json={"name": "asks", "steps": ONE_STEP}, headers=roles["author"]).json()
        while True:
            for claim in worker.claim():
                if claim["workflow_id"] == started["id"]:
                    worker.end(claim, "waiting", next="waiting", awaits={"kind": "approval", "assignees": [*assignees]})
                    query = f"/api/v1/approvals?workflow_id={started['id']}"
                    (approval,) = keyed.api.get(query, headers=roles["viewer"]).json()
                    return str(approval["links"]["self"])
                worker.end(claim)

    yield ask
    worker.close()


def test_an_approval_is_answered_by_its_assignees_alone(keyed: Keyed, asked: Callable[..., str]) -> None:
    link = asked("ann", "finance")
    answer = {"outcome": "approved"}
    bob = keyed.key("bob", "starter", "operator")
    refused = keyed.api.post(link, json=answer, headers=bob)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert "ann, finance" in refused.json()["detail"]
    assert keyed.api.get(link, headers=bob).json()["status"] == "open"
    carl = keyed.key("carl", "starter", groups=("finance",))
    answered = keyed.api.post(link, json=answer, headers=carl).json()
    assert (answered["status"], answered["by"]) == ("answered", "carl")


def test_an_approval_of_another_run_is_kept_by_operators_alone(keyed: Keyed, roles: dict[str, dict[str, str]]) -> None:
    steps = [
        {"id": "ok", "type": "approval", "inputs": {"prompt": "Pay ${ input.amount }?"}},
        {"id": "pay", "type": "noop", "depends_on": ["ok"]},
    ]
    body = {"name": "pays", "steps": steps, "input": {"amount": 10}}
    started = keyed.api.post(WORKFLOWS, json=body, headers=roles["author"]).json()["links"]["self"]
    with PlayedWorker(keyed.database_url, "payer") as worker:
        worker.types.append("approval")
        worker.run_all(output={"outcome": "approved"})
    rerun = {"from": "pay", "input": {"amount": 1_000_000}}

    refused = keyed.api.post(f"{started}/rerun", json=rerun, headers=roles["starter"])

    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert refused.json()["detail"].startswith("Keeping the answers of ok needs the scope workflows:control")
    assert keyed.api.get(started, headers=roles["viewer"]).json()["status"] == "succeeded"
    assert keyed.api.post(f"{started}/rerun", json={"from": "ok"}, headers=roles["starter"]).status_code == 202
    assert keyed.api.post(f"{started}/rerun", json=rerun, headers=roles["operator"]).status_code == 202


def test_answers_and_signals_are_signed_by_who_sends_them(keyed: Keyed, asked: Callable[..., str]) -> None:
    bot = keyed.key("slack-bot", "starter")
    answered = keyed.api.post(asked(), json={"outcome": "rejected", "by": "ann"}, headers=bot).json()
    assert answered["by"] == "ann via slack-bot"
    workflow = answered["links"]["workflow"]
    keyed.api.post(f"{workflow}/signal/paid?by=shop", headers=bot)
    keyed.api.post(f"{workflow}/signal/paid", headers=bot)
    signals = keyed.api.get(f"{workflow}/signals", headers=bot).json()
    assert [signal["by"] for signal in signals] == ["shop via slack-bot", "slack-bot"]


# Without keys ---------------------------------------------------------------------------------------------------------


def test_without_authentication_anyone_may_do_everything_and_is_warned(
    api: httpx.Client, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    who = api.get("/api/v1/whoami", headers={"Authorization": "Bearer nonsense"}).json()
    assert (who["auth"], who["name"], who["roles"], len(who["scopes"])) == ("none", None, [], 11)
    assert api.get("/health").json()["auth"] == "none"
    assert "Authentication is off" in api.get("/admin/queues").text
    started = api.post(WORKFLOWS, json={"name": "free", "steps": ONE_STEP})
    assert api.get(started.headers["location"]).json()["created_by"] is None
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("select principal, address, operation, status from workflow.audit").fetchall()
    assert rows == [(None, "127.0.0.1", "workflows_create", 202)]


def test_what_a_page_of_another_site_asks_for_is_in_the_audit_log(api: httpx.Client, database_url: str) -> None:
    forged = api.post("/api/v1/pause", headers={"Origin": "https://evil.example"})
    assert forged.status_code == 403, forged.text
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("select path, operation, status from workflow.audit").fetchall()
    assert rows == [("/api/v1/pause", "unknown", 403)]


def test_production_does_not_start_before_somebody_says_whether_keys_are_needed() -> None:
    with pytest.raises(SettingsInvalid, match="WORKFLOW_AUTH is not set") as refused:
        create_app(load_settings(WORKFLOW_ENV="production"))
    assert "token create" in str(refused.value.hint)
    for said in ("none", "token"):
        create_app(load_settings(WORKFLOW_ENV="production", WORKFLOW_AUTH=said))
