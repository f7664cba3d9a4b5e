"""Steps where egress is guarded: what is closed gets not one byte."""

import asyncio
import contextlib
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from workflow_engine.errors import TaskError
from workflow_engine.handlers.builtin import make_http_client
from workflow_engine.handlers.http import http_handler
from workflow_engine.handlers.http_client import build_request, exchange
from workflow_engine.observability import metrics
from workflow_engine.settings import load_settings
from workflow_engine.testing import task_context

from .target import Answer


@pytest.fixture
async def http():
    """A client as workers have it in production."""
    async with make_http_client(load_settings(WORKFLOW_EGRESS="guarded")) as client:
        yield client


@pytest.fixture
def resolves(monkeypatch):
    """Names that a server for names of the test's own knows; the answers of one are given in turn."""
    real = socket.getaddrinfo
    known, asked = {}, []

    def getaddrinfo(host, port, *args, **options):
        if host not in known:
            return real(host, port, *args, **options)
        asked.append(host)
        answers = known[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [info for address in addresses for info in real(address, port, *args, **options)]

    def resolves(host, *answers):
        known[host] = list(answers)
        return asked

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return resolves


@pytest.fixture
def call(handle):
    async def call(url, **inputs):
        return await handle("http", {"url": url, **inputs}, task_context())

    return call


async def denied(awaitable):
    with pytest.raises(TaskError) as caught:
        await awaitable
    assert (caught.value.type, caught.value.retryable) == ("egress_denied", False)
    return caught.value.message


def port_of(target):
    return int(target.url.rpartition(":")[2])


@pytest.fixture
async def lenient():
    """A client of an operator who opened something: `lenient("127.0.0.1")`."""
    clients = []

    def make(allowed):
        clients.append(make_http_client(load_settings(WORKFLOW_EGRESS="guarded", WORKFLOW_EGRESS_ALLOW=allowed)))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


async def get(http, url, *, trusted=False):
    return await exchange(http, build_request(http, "GET", url), max_bytes=10_000, trusted=trusted)


async def test_a_private_address_gets_nothing_by_whatever_name(call, target, resolves, capsys):
    resolves("inside.example", ["127.0.0.1"])
    resolves("v6.example", ["::1"])
    resolves("both.example", ["93.184.215.14", "127.0.0.1"])
    before = metrics.egress_denied._value.get()
    for host in ("127.0.0.1", "localhost", "[::1]", "inside.example", "v6.example", "both.example"):
        message = await denied(call(f"http://{host}:{port_of(target)}/echo?key=s3cret"))
        assert "127.0.0.1" not in message.replace("host 127.0.0.1", ""), "it does not tell where the name leads"
        assert "s3cret" not in message
    assert target.received == []
    assert metrics.egress_denied._value.get() == before + 6
    assert "93.184.215.14" in capsys.readouterr().out, "operators see it in the log"


async def test_an_open_port_is_refused_as_a_closed_one_is(call, target):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = unused.getsockname()[1]
        messages = [await denied(call(f"https://127.0.0.1:{port}/")) for port in (port_of(target), closed)]
    assert messages[0] == messages[1]


async def test_a_name_cannot_change_its_mind_between_judgement_and_connection(lenient, target, resolves):
    asked = resolves("rebinds.example", ["127.0.0.2"], ["127.0.0.1"], ["169.254.169.254"])
    http = lenient("127.0.0.2")
    url = f"http://rebinds.example:{port_of(target)}/echo"
    with pytest.raises(TaskError) as caught:
        await get(http, url)  # the address that was judged, where nobody listens
    assert caught.value.type == "connection"
    assert asked == ["rebinds.example"]
    await denied(get(http, url))
    assert "surroundings" in await denied(get(http, url))
    assert target.received == []


async def test_a_name_may_not_lead_to_the_surroundings_though_egress_is_open(handle, resolves):
    resolves("metadata.example", ["169.254.169.254"])
    async with make_http_client(load_settings()) as http:
        assert "surroundings" in await denied(get(http, "http://metadata.example/latest"))


async def test_what_the_operator_opened_is_called_and_redirects_are_judged_anew(lenient, target, other_target):
    http = lenient(f"127.0.0.1:{port_of(target)}")
    assert (await get(http, f"{target.url}/echo")).status == 200
    await denied(get(http, f"{target.url}/redirect?to={other_target.url}/echo"))
    assert "surroundings" in await denied(get(http, f"{target.url}/redirect?to=http://169.254.169.254/latest"))
    assert other_target.received == []


async def test_a_name_server_that_hangs_costs_the_time_of_a_connection(handle, target, monkeypatch):
    real, released = socket.getaddrinfo, threading.Event()

    def hangs(host, *args, **options):
        return released.wait(60) if host == "hangs.example" else real(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    async with make_http_client(load_settings()) as http:
        call = http_handler(load_settings(), http)
        for _ in range(40):  # more than there are threads for the questions
            with pytest.raises(TaskError) as caught:
                await call({"url": "http://hangs.example/", "timeouts": {"connect": "1ms"}}, task_context())
            assert (caught.value.type, caught.value.retryable) == ("timeout", True)
        assert (await get(http, f"{target.url}/echo")).status == 200
        assert asyncio.get_running_loop()._default_executor is None, "those of the loop are free"
    released.set()


async def test_the_next_address_of_a_host_is_tried_when_nobody_answers_at_the_first(lenient, target, resolves):
    resolves("several.example", ["127.0.0.3", "127.0.0.2", "127.0.0.1"])
    http = lenient("several.example")
    reply = await get(http, f"http://several.example:{port_of(target)}/echo")
    assert reply.json()["headers"]["host"] == f"several.example:{port_of(target)}"


def certificate(name, path):
    """Of that name, signed by itself; returns the file with it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, *pem) + signed.public_bytes(serialization.Encoding.PEM)
    )
    return str(path)


async def test_tls_knows_the_name_and_trusts_an_authority_of_the_operator(lenient, resolves, monkeypatch, tmp_path):
    own = certificate("secure.example", tmp_path / "own.pem")
    monkeypatch.setenv("SSL_CERT_FILE", own)
    names = []
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(own)
    tls.sni_callback = lambda _, name, __: names.append(name)

    async def answer(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        http = lenient("127.0.0.0/8")
        for host in ("secure.example", "other.example"):
            resolves(host, ["127.0.0.1"])
        assert (await get(http, f"https://secure.example:{port}/")).json() == {}
        with pytest.raises(TaskError) as caught:
            await get(http, f"https://other.example:{port}/")
    assert caught.value.type == "connection"
    assert "certificate" in caught.value.message
    assert names == ["secure.example", "other.example"]


async def test_a_connection_of_the_operators_own_serves_no_step(http, target):
    """It stays open for the next call, but not for one that was never judged."""
    assert (await get(http, f"{target.url}/echo", trusted=True)).status == 200
    await denied(get(http, f"{target.url}/echo"))
    assert len(target.received) == 1


async def test_a_redirect_away_from_the_operators_own_is_judged(http, target, other_target):
    assert (await get(http, f"{target.url}/redirect?to={target.url}/echo", trusted=True)).status == 200
    await denied(get(http, f"{target.url}/redirect?to={other_target.url}/echo", trusted=True))
    assert other_target.received == []


async def test_models_mesh_and_brain_of_the_operator_are_called(handle, target, other_target):
    choice = {"message": {"content": "yes"}, "finish_reason": "stop"}
    target.answers["/v1/chat/completions"] = Answer({"choices": [choice], "model": "m", "usage": {}})
    target.answers["/api/v1/agents/a"] = Answer({"name": "a", "url": None})
    target.answers["/api/v1/agents/b"] = Answer({"name": "b", "url": other_target.url})
    target.answers["/api/v1/agents/c"] = Answer({"name": "c", "url": other_target.url, "protocol": "a2a"})
    target.answers["/api/v1/agents/a/execute"] = Answer({"output": 7})
    settings = {"WORKFLOW_LLM_BASE_URL": f"{target.url}/v1", "WORKFLOW_LLM_MODEL": "m"}
    settings |= {"AGENT_MESH_URL": target.url, "AGENT_BRAIN_URL": target.url}
    ctx = task_context()
    assert (await handle("llm_inference", {"prompt": "?"}, ctx, **settings))["text"] == "yes"
    assert await handle("agent", {"agent": "a"}, ctx, **settings) == 7
    for agent in ("b", "c", other_target.url):  # told by whoever registered it, or by an author
        await denied(handle("agent", {"agent": agent}, ctx, **settings))
    await denied(handle("tool", {"server": f"{other_target.url}/mcp", "tool": "t"}, ctx, **settings))
    assert other_target.received == []


async def test_a_mock_of_the_operator_answers_for_every_target(handle, target):
    output = await handle(
        "http", {"url": "http://10.0.0.1/"}, task_context(), WORKFLOW_MOCK_HTTP_URL=f"{target.url}/echo"
    )
    assert output["body"]["headers"]["x-original-url"] == "http://10.0.0.1/"


async def test_headers_of_an_author_do_not_follow_a_redirect_to_another_origin(handle, target, other_target):
    async with make_http_client(load_settings()) as http:
        headers = {"X-Api-Key": "s3cret", "Accept": "text/plain", "Cookie": "a=b"}
        request = build_request(http, "GET", f"{target.url}/redirect?to={other_target.url}/echo", headers=headers)
        await exchange(http, request, max_bytes=10_000)
    got = other_target.received[0].headers
    assert got["accept"] == "text/plain"
    assert {"x-api-key", "cookie"}.isdisjoint(got)


async def test_headers_hold_any_text_and_no_line_breaks(handle, target):
    async with make_http_client(load_settings()) as http:
        ctx = task_context(idempotency_key="wf/für[é\n]")
        call = http_handler(load_settings(), http)
        await call({"url": f"{target.url}/echo", "headers": {"X-Name": "Jürgen"}}, ctx)
        headers = target.received[0].headers
        assert headers["x-name"].encode("latin-1").decode() == "Jürgen"
        assert headers["idempotency-key"] == "wf/f%C3%BCr[%C3%A9%0A]"
        with pytest.raises(TaskError) as caught:
            await call({"url": f"{target.url}/echo", "auth": {"bearer": "s3cret\nX: y"}}, ctx)
    assert (caught.value.type, caught.value.retryable) == ("validation", False)
    assert "s3cret" not in caught.value.message
