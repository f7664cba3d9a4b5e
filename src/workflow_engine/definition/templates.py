"""Templates: JSON data with `${ expression }` inside its strings.

A string that is exactly one `${ }` becomes the value itself, with its type. Otherwise values are put into the text:
strings as they are, all else as JSON. `$${` stands for a literal `${`. Keys of objects are not templates.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, TypeAlias

from workflow_engine.definition.expressions import evaluate
from workflow_engine.definition.scope import Scope
from workflow_engine.definition.weight import measure
from workflow_engine.errors import Fault, InputInvalid, TaskError

MAX_PLACEHOLDERS = 1_000
"""Of one string."""
MAX_RENDERED = 8 << 20
"""Characters, about, of what a template becomes."""
_FEW_PLACEHOLDERS = 8
"""So many values cannot be too much together: each is bounded as a payload is."""

_Renderer: TypeAlias = Callable[[Scope], Any]


@dataclass(frozen=True)
class Template:
    """A template, prepared when first rendered.

    Attributes:
        source: JSON data as written.
    """

    source: Any

    @cached_property
    def _renderer(self) -> _Renderer | None:
        return _prepare(self.source)

    @property
    def static(self) -> bool:
        """Whether it renders to itself, whatever the scope."""
        return self._renderer is None

    @cached_property
    def mentions_secrets(self) -> bool:
        """Whether an expression of it may read a secret. In doubt, yes."""
        return any("secrets" in expression for expression in _expressions(self.source))

    def render(self, scope: Scope) -> Any:
        """The data with every expression replaced by its value; new containers at each call.

        Raises:
            TaskError: Of type `expression`, not retryable.
        """
        if self._renderer is None:
            return _copy(self.source)
        rendered = self._renderer(scope)
        if self._many_placeholders and measure(rendered, MAX_RENDERED) > MAX_RENDERED:
            raise _too_large()
        return rendered

    @cached_property
    def _many_placeholders(self) -> bool:
        return sum(1 for _ in islice(_expressions(self.source), _FEW_PLACEHOLDERS + 1)) > _FEW_PLACEHOLDERS


def render(template: Any, scope: Scope) -> Any:
    """Render a template, or JSON data that is one. See `Template.render`."""
    return (template if isinstance(template, Template) else Template(template)).render(scope)


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A `${ }` in a string."""

    expression: str


def split(text: str) -> list[str | Placeholder]:
    """The literal parts and the placeholders of a string, in order. Escapes are resolved.

    Raises:
        InputInvalid: With one fault, code `invalid-template`, without a place.
    """
    parts: list[str | Placeholder] = []
    literal, at = "", 0
    while (dollar := text.find("$", at)) >= 0:
        literal += text[at:dollar]
        if text.startswith("$${", dollar):
            literal, at = literal + "${", dollar + 3
        elif text.startswith("${", dollar):
            end = _end(text, dollar + 2)
            if literal:
                parts.append(literal)
            parts.append(Placeholder(text[dollar + 2 : end].strip()))
            literal, at = "", end + 1
        else:
            literal, at = literal + "$", dollar + 1
    literal += text[at:]
    if literal or not parts:
        parts.append(literal)
    if sum(isinstance(part, Placeholder) for part in parts) > MAX_PLACEHOLDERS:
        raise _invalid(f"has more than {MAX_PLACEHOLDERS:,} placeholders")
    return parts


def is_one_placeholder(text: str) -> bool:
    """Whether a string is exactly one `${ }`, and so keeps the type of its value; also a broken one."""
    try:
        return [type(part) for part in split(text)] == [Placeholder]
    except InputInvalid:
        # A template, if a broken one: the check of expressions says what is wrong with it.
        return text.startswith("${")


def _end(text: str, at: int) -> int:
    """Where the closing brace of a placeholder is. Braces inside string literals and comments do not count."""
    start, depth = at, 0
    while at < len(text):
        character = text[at]
        if character in "\"'":
            at = _after_literal(text, at)
            continue
        if text.startswith("//", at):
            newline = text.find("\n", at)
            at = len(text) if newline < 0 else newline
        elif character == "{":
            depth += 1
        elif character == "}":
            if depth == 0:
                return at
            depth -= 1
        at += 1
    raise _invalid(f"`{text[start - 2 : start + 30]}` is not closed: a }} is missing; for a literal ${{ write $${{")


def _after_literal(text: str, at: int) -> int:
    """Where a CEL string literal that opens at `at` is over."""
    raw = text[at - 1 : at] in ("r", "R") or text[at - 2 : at].lower() in ("rb", "br")
    quote = text[at] * 3 if text.startswith(text[at] * 3, at) else text[at]
    at += len(quote)
    while at < len(text):
        if text[at] == "\\" and not raw:
            at += 2
        elif text.startswith(quote, at):
            return at + len(quote)
        else:
            at += 1
    raise _invalid("a string inside ${ } is not closed")


def _invalid(message: str) -> InputInvalid:
    return InputInvalid([Fault("", "invalid-template", message)])


# Rendering ------------------------------------------------------------------------------------------------------------


def _prepare(value: Any) -> _Renderer | None:
    """A function that renders `value`, or None when it renders to itself."""
    if isinstance(value, str):
        return _prepare_text(value) if "${" in value else None
    if isinstance(value, list):
        items = [(item, _prepare(item)) for item in value]
        if all(renderer is None for _, renderer in items):
            return None
        return lambda scope: [_copy(item) if renderer is None else renderer(scope) for item, renderer in items]
    if isinstance(value, dict):
        entries = [(key, item, _prepare(item)) for key, item in value.items()]
        if all(renderer is None for _, _, renderer in entries):
            return None
        return lambda scope: {
            key: _copy(item) if renderer is None else renderer(scope) for key, item, renderer in entries
        }
    return None


def _expressions(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from (part.expression for part in split(value) if isinstance(part, Placeholder))
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _expressions(item)


def _prepare_text(text: str) -> _Renderer:
    try:
        parts = split(text)
    except InputInvalid as error:
        raise TaskError("expression", error.faults[0].message, retryable=False) from error
    match parts:
        case [str(literal)]:
            return lambda _: literal
        case [Placeholder(expression)]:
            return lambda scope: evaluate(expression, scope)
    return lambda scope: _joined(parts, scope)


def _joined(parts: list[str | Placeholder], scope: Scope) -> str:
    texts, length = [], 0
    for part in parts:
        text = part if isinstance(part, str) else _as_text(evaluate(part.expression, scope))
        length += len(text)
        if length > MAX_RENDERED:
            raise _too_large()
        texts.append(text)
    return "".join(texts)


def _too_large() -> TaskError:
    message = f"the template becomes larger than {MAX_RENDERED >> 20} MiB; pass references instead of data"
    return TaskError("expression", message, retryable=False)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _copy(value: Any) -> Any:
    """Handlers own their inputs; the plan is shared."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value
