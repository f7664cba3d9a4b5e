"""Takes secrets out of what is told or stored: by their values, in all forms in which they come back, and by looks.

A target may repeat a secret in its answer, a library in its exception, a log line in a field; escaped for JSON or for a
URL, or inside base64 as in `Authorization: Basic`.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

REDACTED = "***"
SHORTEST = 8
"""Characters of a secret that is taken out of data; a shorter one would tear holes into it."""
SHORTEST_TOLD = 4
"""The same for errors and log lines of the attempt that uses it."""

_SHORTEST_LINE = 16  # of a secret with several, such as a private key
_SHORTEST_BEGINNING = 4  # of a secret, left at the end of a text that was clipped
_URL_SAFE = ("", "/", "%/:=&?~#+!$,;'@()*[]")  # what encoders of URLs leave as it is
_LOOKS = re.compile(
    r"""(?<=://)[^\s/@:"']*:[^\s/@"']+(?=@)"""  # in URLs
    r"|\b(?:sk-|gh[opsur]_|github_pat_|glpat-|xox[abeprs]-|AIza|whsec_)[\w+/=-]{16,}"
    r"|\bAKIA[A-Z0-9]{16}\b|\bwfk_[A-Za-z0-9]+_[\w-]{16,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|(?<=\b[Bb]earer )[\w.~+/=-]{8,}|(?<=\b[Bb]asic )[\w+/=-]{8,}"
    r"|(?<=\bpassword=)[^\s'\"]+"
)
_MARKS = (
    "://", "sk-", "gho_", "ghp_", "ghs_", "ghu_", "ghr_", "github_pat_", "glpat-", "xox", "AIza", "whsec_", "AKIA",
    "wfk_", "eyJ", "earer ", "asic ", "password=",
)  # fmt: skip
"""One of these is in each text with something that looks like a secret; to look for them is quick."""
_TELLING_NAME = re.compile(r"(?:^|[_.-])(?:password|passwd|secret|token|api[_-]?key|authorization|cookie)$", re.I)


class Redactor:
    """Values that a process has learned to be secret. For any thread."""

    def __init__(self) -> None:
        self._values: frozenset[str] = frozenset()
        self._forms: Sequence[str] = ()

    def conceal(self, *values: str) -> None:
        """Take these out of all that is told from now on; not those that are too short to be told from words."""
        if not self._values.issuperset(new := {value for value in values if len(value) >= SHORTEST}):
            self._values |= new
            self._forms = forms_of(self._values, SHORTEST)

    def told(self, value: Any, more: Sequence[str] = ()) -> Any:
        """An error, or the fields of a log record, without what is secret, or looks or is called so.

        Args:
            value: JSON data, or what is logged.
            more: Forms of other secrets.
        """
        forms = sorted({*more, *self._forms}, key=len, reverse=True) if more else self._forms
        return _walked(value, lambda text: _without_looks(_without_beginning(_without(text, forms), forms)), names=True)


concealed = Redactor()
"""Of this process."""


def forms_of(values: Iterable[str], shortest: int) -> Sequence[str]:
    """How values that have so many characters may come back; the longest first, for one may hold another."""
    found = {form for value in values for form in _forms(value, shortest)}
    return sorted(found, key=len, reverse=True)


def without(value: Any, forms: Sequence[str]) -> Any:
    """JSON data with these texts taken out of its own."""
    return _walked(value, lambda text: _without(text, forms)) if forms else value


def _forms(value: str, shortest: int) -> Iterator[str]:
    if len(value) < shortest:
        return
    data = value.encode(errors="surrogateescape")
    yield from (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    yield from (repr(value)[1:-1], repr(data)[2:-1], quote_plus(data), *(quote(data, safe=safe) for safe in _URL_SAFE))
    if len(value) >= SHORTEST:
        yield from _in_base64(data)
    if "\n" in value:
        lines = (line.strip() for line in value.split("\n"))
        yield from (line for line in lines if len(line) >= _SHORTEST_LINE and not line.startswith("-----"))


def _in_base64(data: bytes) -> Iterator[str]:
    """What is seen of bytes in base64, wherever they begin in what was encoded: the characters that are all theirs."""
    for before in range(3):
        encoded = b64encode(bytes(before) + data).decode()
        whole = encoded[(8 * before + 5) // 6 : 8 * (before + len(data)) // 6]
        yield whole
        yield whole.replace("+", "-").replace("/", "_")


def _without(text: str, forms: Sequence[str]) -> str:
    for form in forms:
        if form in text:
            text = text.replace(form, REDACTED)
    return text


def _without_beginning(text: str, forms: Sequence[str]) -> str:
    """A text that was clipped, without the beginning of a secret at its end."""
    if text.endswith("…"):
        for form in forms:
            for length in range(min(len(form), len(text)) - 1, _SHORTEST_BEGINNING - 1, -1):
                if text.endswith(form[:length], 0, -1):
                    return f"{text[: -1 - length]}{REDACTED}…"
    return text


def _without_looks(text: str) -> str:
    return _LOOKS.sub(REDACTED, text) if any(mark in text for mark in _MARKS) else text


def _walked(value: Any, change: Callable[[str], str], *, names: bool = False) -> Any:
    if isinstance(value, str):
        return change(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {
            _walked(key, change): REDACTED
            if names and isinstance(item, str) and isinstance(key, str) and _TELLING_NAME.search(key)
            else _walked(item, change, names=names)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_walked(item, change, names=names) for item in value]
    text = _as_text(value)  # as a log would write it
    changed = change(text)
    return value if changed == text else changed


def _as_text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # a broken __str__ may raise anything
        return ""
