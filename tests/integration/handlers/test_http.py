"""`http` steps against a real server that misbehaves in every way we know of."""

import asyncio
import base64
import socket
import tracemalloc

import pytest
from support.eventually import eventually_async

from workflow_engine.errors import TaskError
from workflow_engine.testing import task_context

from .target import HUGE, Answer


@pytest.fixture
def call(handle):
    async def call(url, *, ctx=None, settings=None, **inputs):
        return await handle("http", {"url": url, **inputs}, ctx or task_context(), **(settings or {}))

    return call


async def failure(awaitable):
    with pytest.raises(TaskError) as caught:
        await awaitable
    return caught.value


async def test_a_get_returns_status_headers_and_parsed_json(call, target):
    output = await call(f"{target.url}/echo")
    assert output.keys() == {"status", "headers", "body"}
    assert output["status"] == 200
    assert output["headers"]["content-type"] == "application/json"
    assert output["body"]["method"] == "GET"


async def test_every_request_carries_the_idempotency_key_of_its_task(call, target):
    await call(f"{target.url}/echo", ctx=task_context(attempt=1, idempotency_key="wf/fetch"))
    await call(f"{target.url}/echo", ctx=task_context(attempt=2, idempotency_key="wf/fetch"))
    assert [request.headers["idempotency-key"] for request in target.received] == ["wf/fetch", "wf/fetch"]


async def test_headers_of_the_author_win(call, target):
    await call(f"{target.url}/echo", headers={"idempotency-key": "mine", "X-Number": 7, "User-Agent": "me"})
    headers = target.received[0].headers
    assert (headers["idempotency-key"], headers["x-number"], headers["user-agent"]) == ("mine", "7", "me")


async def test_the_query_is_added_to_that_of_the_url(call, target):
    await call(f"{target.url}/echo?a=1", query={"b": "x y&z", "c": [1, 2], "d": True, "e": None})
    assert target.received[0].query == [("a", "1"), ("b", "x y&z"), ("c", "1"), ("c", "2"), ("d", "true")]


@pytest.mark.parametrize(
    ("body", "headers", "sent", "content_type"),
    [
        ({"a": 1}, {}, b'{"a":1}', "application/json"),
        ([1, None], {}, b"[1,null]", "application/json"),
        (False, {}, b"false", "application/json"),
        ("héllo", {}, "héllo".encode(), "text/plain; charset=utf-8"),
        ("<a/>", {"content-type": "application/xml"}, b"<a/>", "application/xml"),
        (
            {"a": [1, 2]},
            {"Content-Type": "application/x-www-form-urlencoded"},
            b"a=1&a=2",
            "application/x-www-form-urlencoded",
        ),
        ({"base64": "AP8="}, {}, b"\x00\xff", "application/octet-stream"),
        ({"base64": "AP8="}, {"Content-Type": "application/json"}, b'{"base64":"AP8="}', "application/json"),
    ],
)
async def test_a_body_is_sent_in_the_form_its_type_suggests(call, target, *, body, headers, sent, content_type):
    await call(f"{target.url}/echo", method="post", body=body, headers=headers)
    request = target.received[0]
    assert (request.method, request.body, request.headers["content-type"]) == ("POST", sent, content_type)


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        ({"bearer": "t0ken"}, "Bearer t0ken"),
        ({"basic": {"username": "me", "password": "pä:ss"}}, f"Basic {base64.b64encode('me:pä:ss'.encode()).decode()}"),
    ],
)
async def test_auth_becomes_a_header(call, target, auth, header):
    await call(f"{target.url}/echo", auth=auth)
    assert target.received[0].headers["authorization"] == header


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (Answer(b'{"a": 1}', headers={"Content-Type": "application/problem+json; charset=utf-8"}), {"a": 1}),
        (Answer(b"\xef\xbb\xbf[1]", headers={"Content-Type": "application/json"}), [1]),
        (Answer(b"", headers={"Content-Type": "application/json"}), None),
        (Answer(b"", 204), None),
        (Answer("plain"), "plain"),
        (Answer(b"caf\xe9", headers={"Content-Type": "text/html; charset=iso-8859-1"}), "café"),
        (Answer(b"caf\xc3\xa9", headers={"Content-Type": "text/html; charset=nonsense"}), "café"),
        (Answer(b"<a/>", headers={"Content-Type": "image/svg+xml"}), "<a/>"),
        (Answer(b"untyped"), "untyped"),
        (Answer(b"\x89PNG"), {"base64": "iVBORw=="}),
        (Answer(b"text", headers={"Content-Type": "application/pdf"}), {"base64": "dGV4dA=="}),
        (Answer(b"a\x00b", headers={"Content-Type": "text/plain"}), {"base64": "YQBi"}),
    ],
)
async def test_an_answer_is_read_by_its_content_type(call, target, answer, body):
    target.answers["/own"] = answer
    assert (await call(f"{target.url}/own"))["body"] == body


async def test_a_head_request_has_no_body(call, target):
    assert (await call(f"{target.url}/gzip", method="HEAD"))["body"] is None


async def test_what_is_called_json_and_is_not_is_worth_another_attempt(call, target):
    target.answers["/own"] = Answer(b"<html>", headers={"Content-Type": "application/json"})
    error = await failure(call(f"{target.url}/own"))
    assert (error.type, error.retryable) == ("response_invalid", True)


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (400, False),
        (401, False),
        (404, False),
        (408, True),
        (409, False),
        (425, True),
        (429, True),
        (500, True),
        (599, True),
    ],
)
async def test_a_refusal_is_an_error_that_says_whether_to_try_again(call, target, status, retryable):
    error = await failure(call(f"{target.url}/status/{status}?key=secret"))
    assert (error.type, error.retryable, error.retry_after) == (f"http.{status}", retryable, None)
    assert error.details == {"status": status, "body": '{"why": "asked for"}'}
    assert f"/status/{status} answered {status}" in error.message
    assert "secret" not in error.message


async def test_a_server_that_recovers_is_just_asked_again(call, target):
    target.answers["/own"] = [Answer({"ready": False}, 500), Answer({"ready": True})]
    error = await failure(call(f"{target.url}/own"))
    assert error.retryable
    assert (await call(f"{target.url}/own"))["body"] == {"ready": True}


async def test_retry_after_in_seconds_is_passed_on(call, target):
    error = await failure(call(f"{target.url}/limited"))
    assert (error.type, error.retryable, error.retry_after) == ("http.429", True, 7.0)


async def test_retry_after_as_a_date_is_measured_by_the_servers_clock(call, target):
    error = await failure(call(f"{target.url}/maintenance"))
    assert (error.type, error.retry_after) == ("http.503", 90.0)


@pytest.mark.parametrize("value", ["soon", "-5", "", "1e9", "Fri, 99 Foo 2026", "²"])
async def test_a_strange_retry_after_is_ignored(call, target, value):
    target.answers["/own"] = Answer(b"", 503, {"Retry-After": value.encode().decode("latin-1")})
    assert (await failure(call(f"{target.url}/own"))).retry_after is None


async def test_a_silent_server_times_out_by_the_steps_own_bound(call, target):
    error = await failure(call(f"{target.url}/silent", timeouts={"read": "100ms"}))
    assert (error.type, error.retryable) == ("timeout", True)


@pytest.mark.parametrize("behaviour", ["slow", "silent", "drip"])
async def test_cancelling_a_slow_request_takes_no_time(call, target, behaviour):
    attempt = asyncio.create_task(call(f"{target.url}/{behaviour}"))
    await eventually_async(target.was_asked)
    attempt.cancel()
    async with asyncio.timeout(2):
        with pytest.raises(asyncio.CancelledError):
            await attempt


async def test_a_cut_answer_is_a_lost_connection(call, target):
    error = await failure(call(f"{target.url}/cut"))
    assert (error.type, error.retryable) == ("connection", True)


async def test_headers_without_end_are_cut_off(call, target):
    error = await failure(call(f"{target.url}/headers"))
    assert (error.type, error.retryable) == ("connection", True)


async def test_a_closed_port_is_a_failed_connection(call):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = await failure(call(f"http://127.0.0.1:{unused.getsockname()[1]}/x"))
    assert (error.type, error.retryable) == ("connection", True)


async def test_an_unknown_host_is_a_failed_connection(call):
    error = await failure(call("http://no-such-host.invalid/"))
    assert (error.type, error.retryable) == ("connection", True)


async def test_a_huge_answer_is_cut_off_early(call, target):
    tracemalloc.start()
    try:
        error = await failure(call(f"{target.url}/huge", settings={"WORKFLOW_MAX_PAYLOAD_BYTES": 200_000}))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (error.type, error.retryable) == ("response_too_large", False)
    assert target.sent_bytes < HUGE / 2
    assert peak < 8_000_000


async def test_a_compressed_bomb_is_never_inflated(call, target):
    # The server thread of this process builds the bomb, some 64 KiB; tracing starts when it is on its way.
    await failure(call(f"{target.url}/bomb", settings={"WORKFLOW_MAX_PAYLOAD_BYTES": 200_000}))
    tracemalloc.start()
    try:
        error = await failure(call(f"{target.url}/bomb", settings={"WORKFLOW_MAX_PAYLOAD_BYTES": 200_000}))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (error.type, error.retryable) == ("response_too_large", False)
    assert peak < 8_000_000


async def test_an_answer_of_exactly_the_limit_is_accepted(call, target):
    target.answers["/own"] = Answer("x" * 2000)
    limit = {"WORKFLOW_MAX_PAYLOAD_BYTES": 2000}
    assert len((await call(f"{target.url}/own", settings=limit))["body"]) == 2000
    target.answers["/own"] = Answer("x" * 2001)
    assert (await failure(call(f"{target.url}/own", settings=limit))).type == "response_too_large"


async def test_gzip_is_inflated_member_by_member(call, target):
    assert (await call(f"{target.url}/gzip"))["body"] == {"zipped": True}


@pytest.mark.parametrize("length", [1, 15, 35])
async def test_a_truncated_compressed_answer_is_invalid(call, target, length):
    error = await failure(call(f"{target.url}/gzip/{length}"))
    assert (error.type, error.retryable) == ("response_invalid", True)


@pytest.mark.parametrize(("encoding", "body"), [("br", b"x"), ("gzip", b"not gzip at all")])
async def test_an_encoding_that_cannot_be_undone_is_invalid(call, target, encoding, body):
    target.answers["/own"] = Answer(body, headers={"Content-Encoding": encoding})
    assert (await failure(call(f"{target.url}/own"))).type == "response_invalid"


async def test_redirects_are_followed_up_to_five(call, target):
    error = await failure(call(f"{target.url}/loop"))
    assert (error.type, error.retryable) == ("too_many_redirects", False)
    assert len(target.received) == 6


async def test_nothing_leads_to_the_surroundings_of_the_machine(call, target):
    for url in ("http://169.254.169.254/latest/", "http://[::ffff:169.254.169.254]/", "http://2130706433/"):
        assert (await failure(call(url))).type == "egress_denied"
        error = await failure(call(f"{target.url}/redirect", query={"to": url}))
        assert (error.type, error.retryable) == ("egress_denied", False)


async def test_a_redirected_post_becomes_a_get_unless_the_status_forbids_it(call, target):
    to = f"{target.url}/echo"
    for status in (302, 307):
        await call(f"{target.url}/redirect/{status}", method="POST", body="x", query={"to": to})
    seen = [(request.method, request.body) for request in target.received if request.path == "/echo"]
    assert seen == [("GET", b""), ("POST", b"x")]


async def test_credentials_do_not_follow_a_redirect_to_another_origin(call, target, other_target):
    for to in (f"{target.url}/echo", f"{other_target.url}/echo"):
        await call(f"{target.url}/redirect", auth={"bearer": "t0ken"}, query={"to": to})
    assert target.received[-2].headers["authorization"] == "Bearer t0ken"
    assert "authorization" not in other_target.received[-1].headers


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/"])
async def test_a_redirect_to_another_scheme_is_refused(call, target, to):
    error = await failure(call(f"{target.url}/redirect", query={"to": to}))
    assert not error.retryable
    assert error.type == "validation"


async def test_cookies_of_one_task_do_not_reach_the_next(call, target):
    target.answers["/own"] = Answer("ok", headers={"Set-Cookie": "session=abc; Path=/"})
    await call(f"{target.url}/own")
    await call(f"{target.url}/echo")
    assert "cookie" not in target.received[-1].headers


async def test_a_proxy_in_the_environment_is_ignored(call, target, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert (await call(f"{target.url}/echo"))["status"] == 200


async def test_a_mock_answers_for_every_target(call, target):
    output = await call("...", settings={"WORKFLOW_MOCK_HTTP_URL": f"{target.url}/echo"}, query={"a": "1"})
    assert output["body"]["headers"]["x-original-url"] == "..."
    assert output["body"]["query"] == [["a", "1"]]


@pytest.mark.parametrize(
    "url",
    [
        "...",
        "",
        "/relative",
        "ftp://example.com/x",
        "file:///etc/passwd",
        "http://",
        "http://[::1",
        "http://x:99999/",
    ],
)
async def test_a_url_that_cannot_be_requested_is_invalid(call, url):
    error = await failure(call(url))
    assert (error.type, error.retryable) == ("validation", False)


@pytest.mark.parametrize(
    ("inputs", "pointer"),
    [
        ({"method": "TRACE"}, "/method"),
        ({"method": "GET / HTTP/1.1"}, "/method"),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, "/headers"),
        ({"headers": {"Host": "example.com"}}, "/headers"),
        ({"headers": {"Content-Length": "5"}}, "/headers"),
        ({"headers": {"a b": "c"}}, "/headers"),
        ({"headers": ["X-A: b"]}, "/headers"),
        ({"query": {"a": {"b": 1}}}, "/query"),
        ({"auth": {}}, "/auth"),
        ({"auth": {"bearer": "x", "basic": {"username": "u", "password": "p"}}}, "/auth"),
        ({"timeouts": {"read": "soon"}}, "/timeouts/read"),
        ({"timeouts": {"connect": 0}}, "/timeouts/connect"),
        ({"heders": {}}, "/heders"),
    ],
)
async def test_inputs_that_make_no_sense_are_refused_with_their_place(call, target, inputs, pointer):
    error = await failure(call(f"{target.url}/echo", **inputs))
    assert (error.type, error.retryable) == ("validation", False)
    assert error.message.startswith(pointer)
    assert target.received == []


async def test_an_optional_field_that_is_null_counts_as_absent(call, target):
    await call(f"{target.url}/echo", method=None, headers=None, auth=None, timeouts={"read": None})
    assert target.received[0].method == "GET"


async def test_a_refused_secret_is_not_repeated_in_the_error(call, target):
    error = await failure(call(f"{target.url}/echo", headers={"X-Key": "s3cret\n"}, auth={"bearer": ["s3cret"]}))
    assert "s3cret" not in str(error.as_json(1))


async def test_what_counts_as_success_is_for_the_step_to_say(call, target):
    lenient = task_context(accepts=lambda result: result["status"] in (200, 404))
    assert (await call(f"{target.url}/status/404", ctx=lenient))["status"] == 404
    strict = task_context(accepts=lambda result: result["body"]["method"] == "POST")
    error = await failure(call(f"{target.url}/echo", ctx=strict))
    assert (error.type, error.retryable) == ("http.200", True)
    assert "is no success by `success_when`" in error.message
    error = await failure(call(f"{target.url}/status/404", ctx=task_context(accepts=lambda result: False)))
    assert (error.type, error.retryable) == ("http.404", False)
