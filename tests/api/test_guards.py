"""What is refused before anybody looks at it: for another host, from another site, malformed, slow, too many."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import psycopg
import pytest
from support.eventually import eventually

from workflow_engine.access import make_key
from workflow_engine.api import streams
from workflow_engine.api.callers import Hosts, address_of, host_name

from .conftest import PlayedWorker, engine_settings, running_engine
from .keyed import Keyed

API = "/api/v1"
START = f"{API}/workflows"
NOOP = {"name": "one", "steps": [{"id": "a", "type": "noop"}]}


@pytest.fixture(scope="module")
def strict(shared_database_url: str, redis_server_url: str) -> Iterator[httpx.Client]:
    """An engine that waits for nobody and is known under one name."""
    settings = engine_settings(
        shared_database_url,
        redis_server_url,
        WORKFLOW_REQUEST_TIMEOUT=0.3,
        WORKFLOW_MAX_HEADER_BYTES=2048,
        WORKFLOW_ALLOWED_HOSTS="workflows.example.com, .example.org",
    )
    with running_engine(settings) as client:
        yield client


def said(client: httpx.Client, *parts: bytes) -> bytes:
    """What is answered to raw bytes until the connection is closed."""
    url = client.base_url
    with socket.create_connection((url.host, url.port or 80), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
        return answer


def problem_in(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    problem: dict[str, Any] = json.loads(body)
    assert b"content-type: application/problem+json" in head.lower()
    assert head.startswith(f"HTTP/1.1 {problem['status']} ".encode())
    assert f"x-request-id: {problem['instance']}".encode() in head.lower()
    return problem


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:3003", "[::1]:3003", "[::1]", "localhost:3003", "LOCALHOST", "engine:3003", "wf.localhost",
        "10.1.2.3",
        "workflow-engine.default.svc:3003", "workflow-engine.default.svc.cluster.local", "mac.local", "x.internal",
        "workflows.example.com", "Workflows.Example.com.", "a.b.example.org:443",
    ],
)  # fmt: skip
def test_a_request_to_a_name_that_no_site_can_take_is_served(host: str, strict: httpx.Client) -> None:
    assert strict.get("/api/v1/livez", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.com", "127.0.0.1.evil.com", "localhost.evil.com:3003", "example.com", "example.org", "notexample.org"],
)
def test_a_request_to_a_name_that_a_site_may_have_is_refused(host: str, strict: httpx.Client) -> None:
    answer = strict.get(START, headers={"Host": host})

    assert (answer.status_code, answer.json()["code"]) == (421, "host-not-allowed")
    assert "WORKFLOW_ALLOWED_HOSTS" in answer.json()["hint"]


def test_any_host_is_served_where_somebody_says_so() -> None:
    assert Hosts("*").knows("evil.com")
    assert not Hosts("").knows("evil.com")
    assert host_name("[2001:DB8::1]:80") == "2001:db8::1"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.com"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
        {"Origin": "http://[broken"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_change_that_another_site_asks_for_is_refused(headers: dict[str, str], strict: httpx.Client) -> None:
    answer = strict.post(START, json=NOOP, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (403, "origin-not-allowed")
    assert strict.get(START, headers=headers).status_code == 200  # without CORS headers, so that no page can read it
    assert "access-control-allow-origin" not in strict.options(START, headers=headers).headers


def test_a_change_from_a_page_of_ours_is_looked_at(strict: httpx.Client) -> None:
    own = str(strict.base_url).rstrip("/")
    for origin in (own, "https://workflows.example.com"):
        assert strict.post(START, json={}, headers={"Origin": origin}).status_code == 422
    same = {"Host": "workflows.example.com", "Origin": "https://workflows.example.com:443"}
    assert strict.post(START, json={}, headers=same).status_code == 422
    assert strict.post(START, json={}, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 422


@pytest.mark.parametrize(
    ("request_text", "status", "code"),
    [
        ("GET /api/v1/workflows?name=über HTTP/1.1\r\nHost: x\r\n\r\n", 400, "malformed-request"),
        ("GET / HTTP/1.1\r\n\r\n", 400, "malformed-request"),  # no Host
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "malformed-request"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400, "malformed-request"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "malformed-request"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "malformed-request",
        ),
        (
            f"POST {START} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n",
            400,
            "malformed-request",
        ),
        ("\x16\x03\x01\x02\r\n\r\n", 400, "malformed-request"),  # TLS
        (f"GET /{'x' * 8200} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 414, "uri-too-long"),
        (f"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: {'x' * 2100}\r\n\r\n", 431, "headers-too-large"),
        (f"GET / HTTP/1.1\r\nHost: a\r\nX: {'x' * 20_000}", 431, "headers-too-large"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: ", 408, "request-timeout"),  # and then nothing
    ],
)
def test_what_is_no_request_is_answered_with_a_problem(
    request_text: str, status: int, code: str, strict: httpx.Client
) -> None:
    problem = problem_in(said(strict, request_text.encode()))

    assert (problem["status"], problem["code"]) == (status, code)
    assert "Traceback" not in problem["detail"]


def test_a_connection_that_says_nothing_is_closed(strict: httpx.Client) -> None:
    assert said(strict) == b""


def test_a_body_that_does_not_come_is_not_waited_for(strict: httpx.Client) -> None:
    head = f"POST {START} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{{"
    assert problem_in(said(strict, head.encode()))["code"] == "request-timeout"

    # Where nobody reads the body, the connection is closed all the same.
    unread = said(strict, b"GET /api/v1/livez HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{")
    assert unread.startswith(b"HTTP/1.1 200 ")


def test_slow_requests_one_after_the_other_are_each_given_their_time(strict: httpx.Client) -> None:
    url = strict.base_url
    request = b"GET /api/v1/livez HTTP/1.1\r\nHost: a\r\n\r\n"
    with socket.create_connection((url.host, url.port or 80), timeout=10) as connection:
        answers = connection.makefile("rb")
        for _ in range(4):  # each half and half, so that something is always on its way
            connection.sendall(request[:20])
            connection.sendall(request[20:] + request[:5])
            assert b"HTTP/1.1 200 OK\r\n" in list(iter(answers.readline, b'{"status":"ok"}\n'))
            connection.sendall(request[5:])
            assert b"HTTP/1.1 200 OK\r\n" in list(iter(answers.readline, b'{"status":"ok"}\n'))


def test_requests_sent_at_once_are_answered_in_their_order_also_before_what_is_no_request(strict: httpx.Client) -> None:
    first, second = (f"GET {API}/{path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for path in ("livez", "nowhere"))

    answers = said(strict, first + second + b"no request\r\n\r\n" + first)

    assert [line for line in answers.splitlines() if line.startswith(b"HTTP/1.1 ")] == [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 404 Not Found",
    ]


def test_who_wants_to_speak_something_else_is_answered_all_the_same(strict: httpx.Client) -> None:
    asked = f"GET {API}/livez HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nPRI * HTTP/2.0"
    assert said(strict, asked.encode()).startswith(b"HTTP/1.1 200 ")


def test_more_requests_than_allowed_are_told_when_to_come_again(
    shared_database_url: str, redis_server_url: str
) -> None:
    settings = engine_settings(shared_database_url, redis_server_url, WORKFLOW_RATE_LIMIT=2)
    with running_engine(settings) as api:
        answers = [api.get("/api/v1/task-types") for _ in range(9)]
        refused = [answer for answer in answers if answer.status_code == 429]

        assert [answer.status_code for answer in answers[:4]] == [200] * 4  # those of two seconds at once
        assert refused
        assert refused[0].json()["code"] == "rate-limited"
        assert refused[0].headers["retry-after"] == "1"
        assert api.get("/livez").status_code == 200
        assert 'workflow_requests_refused_total{reason="rate-limited"}' in api.get("/metrics").text


def test_with_keys_each_key_has_a_rate_and_guessing_has_one_that_keys_do_not_notice(
    database_url: str, redis_url: str
) -> None:
    settings = engine_settings(database_url, redis_url, WORKFLOW_AUTH="token", WORKFLOW_RATE_LIMIT=0.1)
    with running_engine(settings) as api:
        keyed = Keyed(api, database_url)
        ann, bob = keyed.key("ann", "viewer"), keyed.key("bob", "viewer")
        assert [api.get(START, headers=who).status_code for who in (ann, ann, bob)] == [200, 429, 200]

        for _ in range(100):
            guess = api.get(START, headers={"Authorization": f"Bearer {make_key().text}"})
            if guess.status_code == 429:
                break
            assert guess.status_code == 401
        assert guess.json()["code"] == "rate-limited"
        assert guess.headers["retry-after"] == "1"
        assert api.get(START, headers=ann).json()["detail"].startswith("A key may send")
        assert api.get(START, headers={"Host": "evil.com"}).status_code == 401  # the name of the host says nothing here
        keyed.database.close()


def test_to_follow_is_one_request_however_long(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_HEARTBEAT_SECONDS", 0.02)
    settings = engine_settings(database_url, redis_url, WORKFLOW_AUTH="token", WORKFLOW_RATE_LIMIT=2)
    with running_engine(settings) as api:
        keyed = Keyed(api, database_url)
        ann, bob = keyed.key("ann", "admin"), keyed.key("bob", "viewer")
        workflow = api.post(START, json=NOOP, headers=ann).json()["links"]["self"]
        with api.stream("GET", f"{workflow}/events", headers=bob) as followed:
            beats = (line for line in followed.iter_lines() if line == ":")
            for _ in range(20):  # each looks whether the key still holds
                next(beats)
            assert [api.get(workflow, headers=bob).status_code for _ in range(3)] == [200] * 3
        keyed.database.close()


def test_an_address_counts_as_one_caller_and_so_does_a_network_of_ipv6() -> None:
    assert address_of({"client": ("10.0.0.1", 1)}) != address_of({"client": ("10.0.0.2", 1)})
    assert address_of({"client": ("2001:db8::1", 1)}) == address_of({"client": ("2001:db8::ffff:1", 1)})
    assert address_of({"client": ("2001:db8:0:1::1", 1)}) != address_of({"client": ("2001:db8::1", 1)})
    assert address_of({"client": None}) == "unknown"


def test_behind_a_trusted_proxy_the_caller_counts(shared_database_url: str, redis_server_url: str) -> None:
    settings = engine_settings(
        shared_database_url, redis_server_url, WORKFLOW_RATE_LIMIT=0.1, WORKFLOW_TRUSTED_PROXIES="127.0.0.0/8"
    )
    with running_engine(settings) as api:
        statuses = [
            api.get("/api/v1/task-types", headers={"X-Forwarded-For": caller}).status_code
            for caller in ("192.0.2.1", "192.0.2.1", "192.0.2.2")
        ]
    assert statuses == [200, 429, 200]


def test_an_engine_with_as_many_requests_as_it_may_have_refuses_more(database_url: str, redis_url: str) -> None:
    with running_engine(engine_settings(database_url, redis_url, WORKFLOW_MAX_REQUESTS=1)) as api:
        answers: list[httpx.Response] = []

        def start() -> None:
            url = api.base_url.join(f"{START}?wait=20s")
            answers.append(eventually(lambda: a if (a := httpx.post(url, json=NOOP, timeout=30)).is_success else None))

        waiting = threading.Thread(target=start)
        waiting.start()
        refused = eventually(lambda: found if (found := api.get("/api/v1/task-types")).status_code == 503 else None)

        assert refused.json()["code"] == "overloaded"
        assert refused.headers["retry-after"]
        assert api.get("/readyz").status_code == 200
        with PlayedWorker(database_url) as worker:
            eventually(worker.run_all)
        waiting.join()
        assert answers[0].json()["status"] == "succeeded"


def test_no_more_is_started_while_too_much_is_pending(database_url: str, redis_url: str) -> None:
    body = {"name": "three", "steps": [{"id": name, "type": "noop"} for name in "abc"]}
    with running_engine(engine_settings(database_url, redis_url, WORKFLOW_MAX_PENDING=3)) as api:
        assert api.post(START, json=body).status_code == 202

        # What is pending is counted beside the starts, so the first of them may still get in.
        refused = eventually(
            lambda: found if (found := api.post(START, json=body)).status_code == 503 else None, timeout=60
        )
        with psycopg.connect(database_url) as connection:
            before = connection.execute("select count(*) from workflow.workflows").fetchone()
            assert refused.json()["code"] == "overloaded"
            assert int(refused.headers["retry-after"]) > 0
            assert api.post(f"{START}/batch", json=[body]).status_code == 503
            assert api.post(START, json={"name": "three"}).status_code == 503
            assert api.post(f"{API}/schedules/three/run").status_code == 503
            assert connection.execute("select count(*) from workflow.workflows").fetchone() == before
        assert api.get(START).status_code == 200  # all else goes on

        with PlayedWorker(database_url) as worker:
            worker.run_all()
        assert eventually(lambda: api.post(START, json=body).status_code == 202, timeout=60)


def test_answers_may_do_nothing_as_pages(shared_api: httpx.Client) -> None:
    for path in ("/api/v1/workflows", "/nothing", "/admin/queues", "/docs", "/metrics"):
        headers = shared_api.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers
    page = shared_api.get("/docs").text
    assert "<script>" not in page
    assert "unsafe-inline" not in shared_api.get("/docs").headers["content-security-policy"].partition("style-src")[0]


def test_who_goes_leaves_nothing_behind_however_many_requests_it_sent_at_once(
    database_url: str, redis_url: str
) -> None:
    with running_engine(engine_settings(database_url, redis_url, WORKFLOW_MAX_REQUESTS=1)) as api:
        url = api.base_url
        stream, other = (f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for path in ("/admin/changes", "/livez"))
        with socket.create_connection((url.host, url.port or 80), timeout=10) as connection:
            connection.sendall(stream + other)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
            assert api.get("/api/v1/task-types").status_code == 503
        eventually(lambda: api.get("/api/v1/task-types").status_code == 200)


def test_streams_leave_room_for_those_who_work(database_url: str, redis_url: str) -> None:
    with running_engine(engine_settings(database_url, redis_url, WORKFLOW_MAX_REQUESTS=4)) as api:
        log = f"{START}/{api.post(START, json=NOOP).json()['id']}/logs?follow=true"
        with api.stream("GET", "/admin/changes") as first, api.stream("GET", log) as second:
            assert (first.status_code, second.status_code) == (200, 200)
            refused = api.get("/admin/changes")
            assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
            assert refused.headers["retry-after"]
            assert api.post(START, json=NOOP).status_code == 202
        again = eventually(lambda: _opened(api))
        assert again == 200


def _opened(api: httpx.Client) -> int | None:
    with api.stream("GET", "/admin/changes") as stream:
        return stream.status_code if stream.is_success else None


def test_what_follows_a_body_is_bounded_and_no_header(strict: httpx.Client) -> None:
    head = f"POST {START} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = "2\r\n{}\r\n0\r\n"
    named = said(
        strict, f"{head}{body}X-Request-Id: smuggled\r\nConnection: close\r\n\r\n".encode(), b"no request\r\n\r\n"
    )
    assert b"HTTP/1.1 422 " in named
    assert b"smuggled" not in named

    url = strict.base_url
    sent = 0
    with socket.create_connection((url.host, url.port or 80), timeout=10) as connection:
        connection.sendall((head + body).encode())
        with suppress(ConnectionError):
            while sent < 64 * 1024 * 1024:
                sent += connection.send(b"X-More: " + b"a" * 8000 + b"\r\n")
    assert sent < 16 * 1024 * 1024  # what lies in the buffers of the system, and no more


def test_who_asks_for_the_head_of_a_stream_goes_on_with_the_connection(strict: httpx.Client) -> None:
    asked = b"HEAD /admin/changes HTTP/1.1\r\nHost: a\r\n\r\n"
    answers = said(strict, asked + b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert answers.endswith(b'{"status":"ok"}\n')
