"""Takes secrets out of what is told or stored: by their values, in all forms in which they come back, and by looks.

A target may repeat a secret in its answer, a library in its exception, a log line in a field; escaped for JSON, a URL
or HTML, read as Latin-1, or inside base64 as in `Authorization: Basic`.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

REDACTED = "***"
SHORTEST = 8
"""Characters of a secret that is taken out of data; a shorter one would tear holes into it."""
SHORTEST_TOLD = 4
"""The same for errors and log lines of the attempt that uses it."""

_SHORTEST_LINE = 16  # of a secret with several, such as a private key
_SHORTEST_BEGINNING = 4  # of a secret, left at the end of a text that was clipped
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]+")  # what nobody escapes
_SPELT = {"\n": r"\\{1,8}n", "\r": r"\\{1,8}r", "\t": r"\\{1,8}t", " ": r"\+"}
_LOOKS = re.compile(
    r"""(?<=://)[^\s/@:"']*:[^\s/@"']+(?=@)"""  # in URLs
    r"|(?<![\w-])(?:sk-|gh[opsur]_|github_pat_|glpat-|xox[abeprs]-|AIza|whsec_)[\w+/=-]{16,}"
    r"|\bAKIA[A-Z0-9]{16}\b|\bwfk_[A-Za-z0-9]+_[\w-]{16,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    # Words of English have no digits and no capitals in them: "basic authentication".
    r"|(?:(?<=\b[Bb]earer )|(?<=\b[Bb]asic ))(?=[\w.~+/-]*[A-Z0-9=])[\w.~+/=-]{8,}"
    r"|(?<=\bpassword=)[^\s'\"]+"
)
_MARKS = (
    "://", "sk-", "gho_", "ghp_", "ghs_", "ghu_", "ghr_", "github_pat_", "glpat-", "xox", "AIza", "whsec_", "AKIA",
    "wfk_", "eyJ", "earer ", "asic ", "password=",
)  # fmt: skip
"""One of these is in each text with something that looks like a secret; to look for them is quick."""
_TELLING = ("password", "passwd", "secret", "token", "key", "authorization", "cookie")
_TELLING_NAME = re.compile(r"(?:^|[_.-])(?:password|passwd|secret|token|api[_-]?key|authorization|cookie)$", re.I)


@dataclass(frozen=True, slots=True)
class Form:
    """How a secret may come back.

    Attributes:
        text: The secret, or what is seen of it in base64.
        mark: A part that nobody escapes: where it is not, the rest is not either. To look for it is quick.
        pattern: Finds it however its other characters are written; None = the text is plain.
    """

    text: str
    mark: str
    pattern: re.Pattern[str] | None = None

    def out_of(self, text: str) -> str:
        """The text without it."""
        if self.mark not in text:
            return text
        return text.replace(self.text, REDACTED) if self.pattern is None else self.pattern.sub(REDACTED, text)


class Redactor:
    """Values that a process has learned to be secret. For any thread."""

    def __init__(self) -> None:
        self._values: frozenset[str] = frozenset()
        self._forms: Sequence[Form] = ()
        self._marks: Sequence[str] = ()

    def conceal(self, *values: str) -> None:
        """Take these out of all that is told from now on; not those that are too short to be told from words."""
        if not self._values.issuperset(new := {value for value in values if len(value) >= SHORTEST}):
            self._values |= new
            self._forms = forms_of(self._values, SHORTEST)
            self._marks = tuple({form.mark for form in self._forms})

    def told(self, value: Any, more: Sequence[Form] = ()) -> Any:
        """An error, or the fields of a log record, without what is secret, or looks or is called so.

        Args:
            value: JSON data, or what is logged.
            more: Forms of other secrets.
        """
        if not more and isinstance(value, dict) and self._is_harmless(value):
            return value
        forms = sorted({*more, *self._forms}, key=_length, reverse=True) if more else self._forms
        return _walked(value, lambda text: _without_looks(_without_beginning(_without(text, forms), forms)), names=True)

    def _is_harmless(self, fields: dict[str, Any]) -> bool:
        """Whether a glance is enough, as for most log lines, of which there are many."""
        if not all(value is None or isinstance(value, str | bool | int | float) for value in fields.values()):
            return False
        if any(name.lower().endswith(_TELLING) for name in fields):
            return False
        text = "\n".join(map(str, (*fields, *fields.values())))
        return all(mark not in text for mark in (*_MARKS, *self._marks))


concealed = Redactor()
"""Of this process."""


def forms_of(values: Iterable[str], shortest: int) -> Sequence[Form]:
    """How values that have so many characters may come back; the longest first, for one may hold another."""
    found = {form for value in values if len(value) >= shortest for form in _forms(value)}
    return sorted(found, key=_length, reverse=True)


def without(value: Any, forms: Sequence[Form]) -> Any:
    """JSON data with secrets taken out of its texts."""
    return _walked(value, lambda text: _without(text, forms)) if forms else value


def _length(form: Form) -> int:
    return len(form.text)


def _forms(value: str) -> Iterator[Form]:
    yield _form(value)
    if len(value) >= SHORTEST:
        data = value.encode(errors="surrogateescape")
        yield from (Form(text, text) for text in _in_base64(data))
    if "\n" in value:
        lines = (line.strip() for line in value.split("\n"))
        yield from (_form(line) for line in lines if len(line) >= _SHORTEST_LINE and not line.startswith("-----"))


def _form(value: str) -> Form:
    plain = _PLAIN.findall(value)
    if plain == [value]:
        return Form(value, value)
    # Of several backslashes, and of those that escape what follows, there may be more or fewer.
    written = re.sub(r"\\+", r"\\", value)
    return Form(value, max(plain, key=len, default=""), re.compile("".join(map(_spellings, written))))


def _spellings(character: str) -> str:
    """A pattern for one character as it is, or as JSON, URLs, HTML, Python and readers of Latin-1 write it."""
    if _PLAIN.fullmatch(character):
        return re.escape(character)
    data = character.encode(errors="surrogateescape")
    ways = {
        r"\\{1,8}" if character == "\\" else r"\\{0,8}" + re.escape(character),
        re.escape(escape(character)),
        f"(?i:{''.join(f'%{byte:02x}' for byte in data)})",
        _SPELT.get(character, re.escape(character)),
    }
    if not character.isascii():
        ways.add(rf"(?i:\\{{1,8}}{re.escape(json.dumps(character)[2:-1])})")
        ways.add("".join(f"(?:{re.escape(chr(byte))}|(?i:\\\\{{1,8}}(?:u00|x){byte:02x}))" for byte in data))
    return f"(?:{'|'.join(sorted(ways))})"


def _in_base64(data: bytes) -> Iterator[str]:
    """What is seen of bytes in base64, wherever they begin in what was encoded: the characters that are all theirs."""
    for before in range(3):
        encoded = b64encode(bytes(before) + data).decode()
        whole = encoded[(8 * before + 5) // 6 : 8 * (before + len(data)) // 6]
        yield whole
        yield whole.replace("+", "-").replace("/", "_")


def _without(text: str, forms: Sequence[Form]) -> str:
    for form in forms:
        text = form.out_of(text)
    return text


def _without_beginning(text: str, forms: Sequence[Form]) -> str:
    """A text that was clipped, without the beginning of a secret at its end."""
    if text.endswith("…"):
        for form in forms:
            for length in range(min(len(form.text), len(text)) - 1, _SHORTEST_BEGINNING - 1, -1):
                if text.endswith(form.text[:length], 0, -1):
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
