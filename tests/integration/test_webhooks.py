"""Webhooks over real HTTP: signed, at least once, retried, and given up in the end."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from workflow_engine.bootstrap import open_store
from workflow_engine.handlers.http_client import make_http_client
from workflow_engine.maintenance.emitted_signals import EmittedSignals
from workflow_engine.maintenance.webhooks import Webhooks, backoff
from workflow_engine.observability import metrics
from workflow_engine.settings import load_settings

SECRETS = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw old-secret"


@dataclass
class Target:
    """A server that notes what it gets and answers what it is told."""

    answers: list[bytes] = field(default_factory=lambda: [b"204 No Content"])
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""
    hangs: bool = False
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            self.requests.append((headers, await reader.readexactly(int(headers["content-length"]))))
            self.asked.set()
            if self.hangs:
                await reader.read()
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            writer.write(b"HTTP/1.1 " + answer + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
        finally:
            writer.close()


@dataclass
class Sender:
    """The leader's part, a round at a time."""

    database: psycopg.Connection[Any]
    webhooks: Webhooks
    http: httpx.AsyncClient

    async def round(self, *, later: str = "0") -> list[dict[str, Any]]:
        """Send what is due then; returns the outbox."""
        self.database.execute("update workflow.outbox set due_at = due_at - %s::interval", [later])
        await self.webhooks.send(self.http)
        await self.webhooks.landed()
        return self.outbox()

    def outbox(self) -> list[dict[str, Any]]:
        query = "select to_jsonb(o) from workflow.outbox_list o order by id"
        return [row[0] for row in self.database.execute(query).fetchall()]

    def emit(self, url: str | None, payload: Any = None, name: str = "order.paid") -> None:
        self.database.execute(
            "select workflow.emit(array[row(1, %s, 1, 0, %s)::workflow.effect], workflow.clock())",
            [
                "00000000-0000-0000-0000-000000000001",
                Jsonb({"name": name, "payload": payload, "to": "webhook", "url": url}),
            ],
        )


@asynccontextmanager
async def sending(database_url: str, **settings: Any) -> AsyncIterator[tuple[Sender, Target]]:
    chosen = load_settings(DATABASE_URL=database_url, **settings)
    target = Target()
    server = await asyncio.start_server(target.serve, "127.0.0.1")
    target.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?token=secret"
    with psycopg.connect(database_url, autocommit=True) as database:
        async with open_store(chosen, "test") as store, make_http_client(chosen) as http, server:
            yield Sender(database, Webhooks(chosen, store), http), target


def counted(result: str) -> float:
    return float(metrics.deliveries.labels("webhook", result)._value.get())


def test_a_webhook_is_delivered_with_its_id_and_a_signature_of_each_secret(database_url: str) -> None:
    async def run() -> None:
        async with sending(database_url, WORKFLOW_WEBHOOK_SECRET=SECRETS) as (sender, target):
            sender.emit(target.url, {"n": 1})
            before = counted("delivered")
            (letter,) = await sender.round()
            assert (letter["status"], letter["tries"], letter["error"]) == ("delivered", 1, None)
            assert counted("delivered") == before + 1
            ((headers, body),) = target.requests
            assert json.loads(body) == {
                "id": letter["id"],
                "name": "order.paid",
                "workflow_id": letter["workflow_id"],
                "at": json.loads(body)["at"],
                "payload": {"n": 1},
            }
            assert headers["webhook-id"] == headers["idempotency-key"] == letter["id"]
            signed = f"{letter['id']}.{headers['webhook-timestamp']}.".encode() + body
            expected = [
                "v1," + b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
                for key in (b64decode(SECRETS.split(maxsplit=1)[0].removeprefix("whsec_")), b"old-secret")
            ]
            assert headers["webhook-signature"].split(" ") == expected
            await sender.round(later="1 day")
            assert len(target.requests) == 1

    asyncio.run(run())


def test_a_target_that_fails_is_tried_again_with_the_same_id_and_given_up_in_the_end(database_url: str) -> None:
    async def run() -> None:
        async with sending(database_url, WORKFLOW_WEBHOOK_TRIES=3) as (sender, target):
            target.answers = [b"503 Away\r\nRetry-After: 120", b"302 Found\r\nLocation: /", b"500 Bad"]
            sender.emit(target.url)
            before = counted("failed"), counted("dead")
            (letter,) = await sender.round()
            assert (letter["status"], letter["tries"]) == ("pending", 1)
            assert "503" in letter["error"]
            assert "secret" not in letter["error"]
            assert len(await sender.round(later="100 seconds")) == len(target.requests) == 1, "Retry-After counts"
            (letter,) = await sender.round(later="30 seconds")
            assert (letter["tries"], "302" in letter["error"]) == (2, True), "redirects are not followed"
            (letter,) = await sender.round(later="1 minute")
            assert (letter["status"], letter["tries"]) == ("dead", 3)
            assert (counted("failed"), counted("dead")) == (before[0] + 2, before[1] + 1)
            assert len({headers["webhook-id"] for headers, _ in target.requests}) == 1
            assert "webhook-signature" not in target.requests[0][0]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        (None, b"410 Gone"),
        ("http://169.254.169.254/latest", b"204 No"),
        ("nonsense", b"204 No"),
        ("ftp://example.com/", b"204 No"),
        ("", b"204 No"),
    ],
)
def test_what_can_never_be_delivered_is_given_up_at_once(database_url: str, url: str | None, answer: bytes) -> None:
    async def run() -> None:
        async with sending(database_url) as (sender, target):
            target.answers = [answer]
            sender.emit(target.url if url is None else url)
            (letter,) = await sender.round()
            assert (letter["status"], letter["tries"]) == ("dead", 1)
            assert letter["error"]

    asyncio.run(run())


def test_a_webhook_to_a_private_address_is_given_up_where_egress_is_guarded(database_url: str) -> None:
    async def run() -> None:
        async with sending(database_url, WORKFLOW_EGRESS="guarded") as (sender, target):
            sender.emit(target.url)
            (letter,) = await sender.round()
            assert (letter["status"], letter["error"].split(":")[0]) == ("dead", "egress_denied")
            assert target.requests == []
        allowed = {"WORKFLOW_EGRESS": "guarded", "WORKFLOW_EGRESS_ALLOW": "127.0.0.0/8"}
        async with sending(database_url, **allowed) as (sender, target):
            sender.emit(target.url)
            assert [letter["status"] for letter in await sender.round()] == ["dead", "delivered"]

    asyncio.run(run())


def test_a_target_that_hangs_does_not_hold_up_another(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with sending(database_url) as (sender, slow), sending(database_url) as (_, quick):
            slow.hangs = True
            for _ in range(20):
                sender.emit(slow.url)
            await sender.webhooks.send(sender.http)  # as many as one host gets are on their way
            sender.emit(quick.url, name="quick")
            await sender.webhooks.send(sender.http)
            await quick.asked.wait()
            await sender.webhooks.landed()
            states = {(letter["name"], letter["status"], letter["tries"]) for letter in sender.outbox()}
            assert ("quick", "delivered", 1) in states
            assert ("order.paid", "pending", 0) in states
            assert any("not answered within" in (letter["error"] or "") for letter in sender.outbox())

    monkeypatch.setattr("workflow_engine.maintenance.webhooks.TRY_SECONDS", 1.0)
    asyncio.run(run())


def test_the_delay_doubles_up_to_ten_minutes_and_obeys_the_target() -> None:
    for tries, most in ((1, 1), (2, 2), (5, 16), (30, 600)):
        assert most / 2 <= backoff(tries, None) <= most
    assert backoff(1, 90) == 90
    assert backoff(1, 10**8) == 600


def test_a_signal_that_cannot_be_delivered_is_told(
    database_url: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        settings = load_settings(DATABASE_URL=database_url)
        async with sending(database_url) as (sender, _), open_store(settings, "test") as store:
            sender.database.execute(
                "select workflow.emit(array[row(1, %s, 1, 0, %s)::workflow.effect], workflow.clock())",
                [
                    "00000000-0000-0000-0000-000000000001",
                    Jsonb({"name": "go", "to": "signal", "workflow_id": "00000000-0000-0000-0000-000000000007"}),
                ],
            )
            duty = EmittedSignals(settings, store)
            assert await duty.sweep_once() == {"delivered": 0, "dead": 1, "split": 0}
            assert await duty.sweep_once() == {"delivered": 0, "dead": 0, "split": 0}

    asyncio.run(run())
    assert "There is no such workflow." in capsys.readouterr().out
