"""Delivers the webhooks that workflows emitted, for as long as this process leads.

Not a duty: a target may take its time, and the duties must not wait for it. Each webhook is a POST, at least once, with
an id that stays the same for all tries and a signature in the form of the Standard Webhooks specification
(https://www.standardwebhooks.com), for which there are libraries in most languages.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import random
import time
from collections import Counter
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from workflow_engine.background import end_tasks
from workflow_engine.errors import StoreUnavailable, TaskError
from workflow_engine.handlers.http import ORIGINAL_URL
from workflow_engine.handlers.http_client import build_request, check_target, make_http_client, shown, transport_errors
from workflow_engine.handlers.transport import trust
from workflow_engine.observability import metrics
from workflow_engine.observability.logs import as_utc, get_logger
from workflow_engine.records import Webhook
from workflow_engine.settings import Settings, signing_keys
from workflow_engine.store.store import Store

TRY_SECONDS = 15.0
"""What a target gets for its answer."""
_AT_ONCE = 64
_EACH = 8  # to one host: one that does not answer must not hold up the others
_OWN_SECONDS = 4 * TRY_SECONDS  # a webhook is this process' for so long
_LOOK_SECONDS = 10.0  # it looks that often though nobody says that some are due
_LONGEST_DELAY = 600.0
_LONGEST_ERROR = 500
_FINAL = "validation"  # the error type of a request that can never be sent


class Webhooks:
    """A target that does not answer with 2xx is tried again after 1, 2, 4, ... seconds, at most ten minutes, or when
    its `Retry-After` says so; after `WORKFLOW_WEBHOOK_TRIES` tries, or 410 Gone, the webhook is a dead letter."""

    name = "webhooks"

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._keys = signing_keys(settings.webhook_secret)
        self._outbox = store.outbox
        self._flying: dict[asyncio.Task[None], str] = {}  # with the host of each
        self.due = asyncio.Event()
        """Set by whoever knows that some are due."""
        self._log = get_logger("maintenance")

    async def run(self) -> None:
        """Go on until cancelled, through outages of Postgres."""
        async with make_http_client(self._settings) as http:
            try:
                while True:
                    # With more to do it goes on when one has landed, else when some are due.
                    if await self.send(http) and self._flying:
                        await asyncio.wait(
                            self._flying, timeout=self._settings.poll_seconds, return_when=asyncio.FIRST_COMPLETED
                        )
                    else:
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(self.due.wait(), _LOOK_SECONDS)
                        self.due.clear()
            finally:
                await end_tasks(*self._flying)

    async def send(self, http: httpx.AsyncClient) -> int:
        """Begin to send what is due, as much as there is room for; returns how many."""
        room = _AT_ONCE - len(self._flying)
        if room <= 0:
            return 0
        busy = [origin for origin, count in Counter(self._flying.values()).items() if count >= _EACH]
        try:
            taken = await self._outbox.take_webhooks(room, each=_EACH, busy=busy, seconds=_OWN_SECONDS)
        except StoreUnavailable as error:
            self._log.warning("webhooks postponed", error=error.detail)
            return 0
        except Exception:  # a bug here must not end the lead
            self._log.exception("webhooks failed")
            return 0
        for webhook in taken:
            task = asyncio.create_task(self._deliver(http, webhook))
            self._flying[task] = webhook.origin
            task.add_done_callback(self._flying.pop)
        return len(taken)

    async def landed(self) -> None:
        """Wait until nothing is being sent."""
        await asyncio.gather(*self._flying)

    async def _deliver(self, http: httpx.AsyncClient, webhook: Webhook) -> None:
        error: TaskError | None = None
        try:
            async with asyncio.timeout(TRY_SECONDS):
                await self._post(http, webhook)
        except TaskError as refused:
            error = refused
        except TimeoutError:
            error = TaskError("timeout", f"It was not answered within {TRY_SECONDS:g} s.")
        except Exception as bug:  # one webhook must not end the others
            self._log.exception("webhook failed", delivery_id=str(webhook.id))
            error = TaskError("internal", f"{type(bug).__name__}: {bug}")
        try:
            await self._end(webhook, error)
        except StoreUnavailable as away:  # it is due again when its time here is over
            self._log.warning("webhooks postponed", delivery_id=str(webhook.id), error=away.detail)

    async def _post(self, http: httpx.AsyncClient, webhook: Webhook) -> None:
        body = orjson.dumps({
            "id": str(webhook.id),
            "name": webhook.name,
            "workflow_id": str(webhook.workflow_id),
            "at": as_utc(webhook.created_at),
            "payload": webhook.payload,
        })  # fmt: skip
        mock = self._settings.mock_http_url
        headers = self._headers(str(webhook.id), body)
        if mock:
            headers[ORIGINAL_URL] = quote(webhook.url or "", safe="%/:=&?~#+!$,;'@()*[]")
        request = build_request(http, "POST", mock or webhook.url or "", headers=headers, content=body)
        if mock:
            trust(request)
        check_target(request)
        with transport_errors(request):
            response = await http.send(request, stream=True)
            await response.aclose()  # only the status counts
        if not response.is_success:
            raise TaskError(
                f"http.{response.status_code}",
                f"{shown(request.url)} answered {response.status_code}.",
                retryable=response.status_code != HTTPStatus.GONE,
                retry_after=_seconds(response.headers.get("Retry-After", "")),
            )

    def _headers(self, id: str, body: bytes) -> dict[str, str]:
        now = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": id,
            "Webhook-Id": id,
            "Webhook-Timestamp": now,
        }
        if self._keys:
            headers["Webhook-Signature"] = " ".join(signature(key, id, now, body) for key in self._keys)
        return headers

    async def _end(self, webhook: Webhook, error: TaskError | None) -> None:
        if error is None:
            if await self._outbox.end_webhook(webhook):
                metrics.deliveries.labels("webhook", "delivered").inc()
            return
        final = webhook.tries >= self._settings.webhook_tries or not error.retryable or error.type == _FINAL
        delay = None if final else backoff(webhook.tries, error.retry_after)
        message = f"{error.type}: {error.message}"[:_LONGEST_ERROR]
        if not await self._outbox.end_webhook(webhook, message, delay=delay):
            return
        metrics.deliveries.labels("webhook", "dead" if final else "failed").inc()
        fields: dict[str, Any] = {
            "workflow_id": str(webhook.workflow_id),
            "delivery_id": str(webhook.id),
            "to": "webhook",
            "name": webhook.name,
            "target": webhook.origin,
            "tries": webhook.tries,
            "error": message,
        }
        if final:
            self._log.warning("delivery given up", **fields)
        else:
            self._log.info("delivery failed", **fields, again_in=round(delay or 0.0, 1))


def signature(key: bytes, id: str, timestamp: str, body: bytes) -> str:
    """By Standard Webhooks: HMAC-SHA256 over id, time and body."""
    signed = hmac.new(key, b".".join((id.encode(), timestamp.encode(), body)), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def backoff(tries: int, retry_after: float | None) -> float:
    """Seconds until the next try, with some chance in them so that many do not come back at once."""
    delay = min(2.0 ** min(tries - 1, 20), _LONGEST_DELAY) * random.uniform(0.5, 1.0)  # noqa: S311
    return max(delay, min(retry_after or 0.0, _LONGEST_DELAY))


def _seconds(text: str) -> float | None:
    """Of `Retry-After`; a date is not worth it here."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
