"""What can be told about an HTTP request before it is sent: method, URL and headers of an `http` step."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from workflow_engine.definition.faults import Faults, clipped, did_you_mean, join
from workflow_engine.egress import forbidden_host

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?!\d+(?:[/?#]|$))")  # `localhost:8080/x` has no scheme
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LINE_BREAKERS = re.compile(r"[\r\n\0]")
# Set by the client itself; one set by an author could smuggle a second request past a proxy.
_OWN_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade"}
    | {"proxy-authenticate", "proxy-authorization", "proxy-connection"}
)


def check_method(method: object, pointer: str, faults: Faults) -> None:
    if isinstance(method, str) and "${" not in method and method.upper() not in METHODS:
        hint = did_you_mean(method.upper(), METHODS) or f"; write one of {', '.join(METHODS)}"
        faults.add(pointer, "validation-error", f"{clipped(method)} is not an accepted method{hint}")


def check_url(url: object, pointer: str, faults: Faults, warnings: Faults) -> None:
    """Refuse what can never be requested; warn about what is not a URL yet, such as the placeholder `...`."""
    if not isinstance(url, str):
        return
    scheme = _SCHEME.match(url)
    if scheme is not None and scheme[1].lower() not in ("http", "https"):
        faults.add(pointer, "url-not-allowed", f"only http and https are allowed, not {clipped(scheme[1])}")
    elif (host := _fixed_host(url)) and (reason := forbidden_host(host)):
        faults.add(pointer, "egress-denied", f"{clipped(host)} {reason}")
    elif "${" in url:
        return
    elif _LINE_BREAKERS.search(url):
        faults.add(pointer, "url-not-allowed", "a URL cannot contain line breaks")
    elif not _absolute(url):
        warnings.add(pointer, "not-a-url", f"{clipped(url)} is not an absolute http(s) URL; the step will fail")


def _fixed_host(url: str) -> str | None:
    """The host of a URL, unless an expression gives it."""
    try:
        parts = urlsplit(url)
        return None if "${" in parts.netloc else parts.hostname
    except ValueError:
        return None


def _absolute(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is no port
    except ValueError:
        return False
    return parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and " " not in url


def check_headers(headers: object, pointer: str, faults: Faults) -> None:
    if not isinstance(headers, dict):
        return
    for name, value in headers.items():
        place = join(pointer, name)
        if not _TOKEN.fullmatch(name):
            faults.add(place, "invalid-header", f"{clipped(name)} is not a header name")
        elif name.lower() in _OWN_HEADERS:
            faults.add(place, "invalid-header", f"`{name}` is set by the engine")
        elif not _is_header_value(value):
            faults.add(place, "invalid-header", "must be text or a number, without line breaks")


def _is_header_value(value: Any) -> bool:
    if isinstance(value, str):
        return _LINE_BREAKERS.search(value) is None
    return isinstance(value, int | float) and not isinstance(value, bool)
