"""HTTP as handlers use it: one client, one way to send a request, one set of errors. All egress goes through here.

What the plain client would do and a worker cannot afford: call the machine's own surroundings, read a body of any size,
inflate a bomb, follow a redirect from https to http, keep one task's cookies for the next, or take a proxy from the
environment.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from workflow_engine.egress import forbidden_host
from workflow_engine.errors import TaskError
from workflow_engine.handlers.inputs import invalid
from workflow_engine.handlers.output import storable_text
from workflow_engine.handlers.transport import Transport, denied, distrust, is_trusted, trust
from workflow_engine.observability import span_names as names
from workflow_engine.observability.trace_context import outgoing
from workflow_engine.observability.tracing import span
from workflow_engine.settings import VERSION, Settings

MAX_REDIRECTS = 5
CONNECT_TIMEOUT = 10.0  # seconds
_RETRYABLE = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_CLIENT_ERROR = 4  # first digit of a status
_HIGHEST_PORT = 65535
_ERROR_EXCERPT = 2000  # characters of a refusing answer kept in the error
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
# What follows a redirect to another origin. All else that an author set may be a credential.
_PUBLIC_HEADERS = frozenset(
    {"host", "user-agent", "accept", "accept-encoding", "accept-language", "content-type", "content-length"}
    | {"content-encoding", "transfer-encoding", "idempotency-key", "traceparent"}
)


def make_http_client(settings: Settings) -> httpx.AsyncClient:
    """The client that handlers share; the caller closes it.

    It has no overall timeout: an attempt is bounded by its own. It asks for gzip only, which `exchange` inflates
    within bounds.
    """
    # An agent step holds two connections at most; idle ones are kept short, so that DNS changes are noticed.
    limits = httpx.Limits(
        max_connections=max(100, 2 * settings.worker_concurrency),
        max_keepalive_connections=max(20, settings.worker_concurrency),
        keepalive_expiry=30.0,
    )
    return httpx.AsyncClient(
        transport=Transport(settings.egress_policy, limits),
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={"User-Agent": f"workflow-engine/{VERSION}", "Accept-Encoding": "gzip"},
    )


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read to its end within the bound, whatever its status."""

    request: httpx.Request
    status: int
    headers: httpx.Headers
    content: bytes
    charset: str | None  # as declared

    @property
    def text(self) -> str:
        """The content as text; bytes that are none become U+FFFD."""
        try:
            return self.content.decode(self.charset or "utf-8", "replace")
        except LookupError:  # a charset nobody knows
            return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The content as JSON.

        Raises:
            TaskError: `response_invalid`, retryable: it may have been cut or replaced on its way.
        """
        try:
            return orjson.loads(self.content.removeprefix(b"\xef\xbb\xbf"))
        except orjson.JSONDecodeError as error:
            raise response_invalid(self.request, f"is not JSON: {error}") from error

    def require_success(self) -> None:
        """Raise `http.<status>` for a status of 400 and above, or where a redirect leads nowhere.

        Retryable are 408, 425, 429 and 5xx; `Retry-After` is passed on.
        """
        if self.status >= HTTPStatus.BAD_REQUEST:
            raise self.refused(f"answered {self.status} {_phrase(self.status)}".rstrip())

    def refused(self, what: str) -> TaskError:
        """The error `http.<status>` of an answer that is no success, whatever its status.

        Another answer may be better, unless the status says that the request itself is wrong.
        """
        return TaskError(
            f"http.{self.status}",
            f"{self.request.method} {shown(self.request.url)} {what}",
            retryable=self.status in _RETRYABLE or self.status // 100 != _CLIENT_ERROR,
            retry_after=_retry_after(self.headers),
            details={"status": self.status, "body": storable_text(self.text, _ERROR_EXCERPT)},
        )


def as_header(text: str) -> str:
    """Any text as the value of a header: what is not visible ASCII is percent-encoded, always in the same way."""
    return quote(text, safe=_VISIBLE, errors="replace")


def build_request(http: httpx.AsyncClient, method: str, url: str, **options: Any) -> httpx.Request:
    """A request, with the options of `httpx.AsyncClient.build_request`.

    Raises:
        TaskError: `validation` when the URL is not an absolute http(s) URL or a header cannot be sent.
    """
    try:
        request = http.build_request(method, url, **options)
    except (httpx.InvalidURL, UnicodeEncodeError, ValueError) as error:
        raise invalid(f"This request cannot be sent: {error}") from error
    if request.url.scheme not in ("http", "https") or not request.url.host or (request.url.port or 0) > _HIGHEST_PORT:
        raise invalid(f"{storable_text(url, 200)!r} is not an absolute http or https URL")
    return request


async def exchange(http: httpx.AsyncClient, request: httpx.Request, *, max_bytes: int, trusted: bool = False) -> Reply:
    """Send a request, follow up to five redirects, and read the answer.

    To another origin no header follows that could be a credential; nothing follows a redirect from https to http. The
    request belongs to the trace of the attempt, unless it says another one itself.

    Args:
        max_bytes: Longest body, counted as it arrives and again as it is inflated.
        trusted: The operator's settings say where it goes: the policy for egress has no say, unless it is redirected
            elsewhere.

    Raises:
        TaskError: `connection` and `timeout` are retryable; so is `response_invalid`, an answer that breaks HTTP or
            its own encoding. `response_too_large`, `too_many_redirects`, `redirect_refused` and `egress_denied` are
            not.
    """
    if trusted:
        trust(request)
    where = {
        names.HTTP_METHOD: request.method,
        names.SERVER_ADDRESS: request.url.host,
        names.SERVER_PORT: _port(request.url),
    }
    with span(request.method, where) as notes:
        if traceparent := notes.traceparent or outgoing.get():
            request.headers.setdefault("traceparent", traceparent)
        reply = await _exchange(http, request, max_bytes)
        notes.note({names.HTTP_STATUS: reply.status})
        if reply.status >= HTTPStatus.BAD_REQUEST:
            notes.failed(str(reply.status))
        return reply


async def _exchange(http: httpx.AsyncClient, request: httpx.Request, max_bytes: int) -> Reply:
    for _ in range(MAX_REDIRECTS + 1):
        check_target(request)
        with transport_errors(request):
            response = await http.send(request, stream=True)
            try:
                if response.next_request is None:
                    content = await _read(response, max_bytes)
                    return Reply(request, response.status_code, response.headers, content, response.charset_encoding)
            finally:
                await response.aclose()
        request = _redirected(request, response.next_request)
    raise TaskError(
        "too_many_redirects", f"{shown(request.url)} is redirect number {MAX_REDIRECTS + 1}.", retryable=False
    )


def shown(url: httpx.URL) -> str:
    """A URL for messages: without the parts that carry secrets (user info, query, fragment)."""
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))


def response_invalid(request: httpx.Request, reason: str) -> TaskError:
    return TaskError("response_invalid", f"The answer of {shown(request.url)} {reason}.")


@contextmanager
def transport_errors(request: httpx.Request) -> Iterator[None]:
    """Where errors of httpx become ours."""
    where = shown(request.url)
    try:
        yield
    except httpx.TimeoutException as error:
        what = {httpx.ConnectTimeout: "did not accept a connection", httpx.PoolTimeout: "had no free connection"}
        raise TaskError("timeout", f"{where} {what.get(type(error), 'did not answer')} in time.") from error
    except httpx.UnsupportedProtocol as error:
        raise invalid(f"{where} cannot be requested: {error}") from error
    except httpx.LocalProtocolError as error:
        # Its text repeats the header, which may be a credential.
        raise invalid(f"{where} cannot be requested: a header has characters that HTTP does not allow.") from error
    except httpx.TransportError as error:
        reason = storable_text(error, 500) or type(error).__name__
        raise TaskError("connection", f"The connection to {where} failed: {reason}") from error


def check_target(request: httpx.Request) -> None:
    """Refuse a host that no step may call. What is refused at submit may still come from an expression or a redirect.

    Where the host leads is judged with the connection.

    Raises:
        TaskError: `egress_denied`, not retryable.
    """
    if not is_trusted(request) and (reason := forbidden_host(request.url.host)):
        raise denied(request.url.host, reason)


def same_origin(url: httpx.URL, other: httpx.URL) -> bool:
    return (url.scheme, url.host, _port(url)) == (other.scheme, other.host, _port(other))


def _port(url: httpx.URL) -> int | None:
    return url.port or {"http": 80, "https": 443}.get(url.scheme)


def _redirected(request: httpx.Request, following: httpx.Request) -> httpx.Request:
    if following.url.scheme == "http" and request.url.scheme == "https":
        raise TaskError(
            "redirect_refused",
            f"{shown(request.url)} redirects from https to http ({shown(following.url)}).",
            retryable=False,
        )
    if not same_origin(request.url, following.url):
        distrust(following)
        for name in {*following.headers} - _PUBLIC_HEADERS:
            del following.headers[name]
    return following


async def _read(response: httpx.Response, max_bytes: int) -> bytes:
    inflate = _inflater(response)
    received, content = 0, bytearray()
    async for chunk in response.aiter_raw():
        received += len(chunk)
        content += chunk if inflate is None else inflate.feed(chunk, max_bytes + 1 - len(content))
        if max(received, len(content)) > max_bytes:
            raise TaskError(
                "response_too_large",
                f"The answer of {shown(response.request.url)} is larger than {max_bytes:,} bytes.",
                retryable=False,
                details={"limit": max_bytes},
            )
    if inflate is not None and received and not inflate.finished:
        raise response_invalid(response.request, "ends in the middle of its compressed body")
    return bytes(content)


class _Inflater:
    """Inflates gzip and deflate, never producing more at once than it is asked for."""

    def __init__(self, request: httpx.Request) -> None:
        self._request = request
        self._stream = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: gzip or zlib, as its header says

    @property
    def finished(self) -> bool:
        return self._stream.eof

    def feed(self, data: bytes, most: int) -> bytes:
        """Inflate the next piece, up to `most` bytes; more than that is for the caller to refuse."""
        try:
            inflated = self._stream.decompress(data, most)
            while (rest := self._stream.unused_data) and len(inflated) < most:  # the next member of a gzip file
                self._stream = zlib.decompressobj(zlib.MAX_WBITS | 32)
                inflated += self._stream.decompress(rest, most - len(inflated))
        except zlib.error as error:
            raise response_invalid(self._request, f"has a broken compressed body: {error}") from error
        return inflated


def _inflater(response: httpx.Response) -> _Inflater | None:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _Inflater(response.request)
    raise response_invalid(response.request, f"is encoded as {encoding!r}, which was not asked for")


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds the answer asks us to wait; None when it does not, or says it in no form we know."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        due = parsedate_to_datetime(value)
    except ValueError:
        return None
    # Against the answer's own clock where it tells it: ours may differ.
    try:
        now = parsedate_to_datetime(headers.get("Date", ""))
    except ValueError:
        now = datetime.now(UTC)
    return max(0.0, (_aware(due) - _aware(now)).total_seconds())


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
