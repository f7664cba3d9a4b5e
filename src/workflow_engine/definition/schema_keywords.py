"""The keywords of JSON Schema that could take for ever, in a form that cannot.

Patterns are evaluated by RE2, in time linear to the text: `re`, which the validator uses by itself, does not end in
practice for `(a+)+$` and a text of forty characters, and nothing can interrupt it. RE2 has no look-around and no
references back; a schema with such a pattern is refused. `uniqueItems` compares texts instead of all pairs. A `$ref` is
followed once for each value, as references to references can double at each step, and so often and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jsonschema
import orjson
from jsonschema.validators import extend

from workflow_engine.definition.expressions import compile_expression
from workflow_engine.definition.faults import join


def pattern_fault(pattern: str) -> str | None:
    """What is wrong with a regular expression, or None."""
    try:
        _matches(pattern, "")
    except ValueError as error:
        return f"{error}; patterns are those of RE2, without look-around and references back"
    return None


def patterns_of(places: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """The regular expressions of subschemas, with their places."""
    for place, part in places.items():
        if isinstance(pattern := part.get("pattern"), str):
            yield join(place, "pattern"), pattern
        named = part.get("patternProperties")
        for pattern in named if isinstance(named, dict) else ():
            yield join(place, "patternProperties", pattern), pattern


def _matches(pattern: str, text: str) -> bool:
    found: bool = _search().evaluate_here({"pattern": pattern, "text": text})
    return found


@lru_cache(maxsize=1)
def _search() -> Any:
    return compile_expression("text.matches(pattern)", ("pattern", "text"))


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    if validator.is_type(value, "string") and not _matches(pattern, value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, named: Any, value: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    if validator.is_type(value, "object"):
        for pattern, part in named.items():
            for name, item in value.items():
                if _matches(pattern, name):
                    yield from validator.descend(item, part, path=name, schema_path=pattern)


def _additional_properties(validator: Any, part: Any, value: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    if not validator.is_type(value, "object"):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    extra = [name for name in value if name not in known and not any(_matches(one, name) for one in patterns)]
    if validator.is_type(part, "object"):
        for name in extra:
            yield from validator.descend(value[name], part, path=name)
    elif not part and extra:
        names = ", ".join(repr(name) for name in sorted(extra)[:5])
        yield jsonschema.ValidationError(f"Additional properties are not allowed ({names} unexpected)")


def _unique_items(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    if wanted and validator.is_type(value, "array"):
        texts = {orjson.dumps(_as_equal(item), option=orjson.OPT_SORT_KEYS) for item in value}
        if len(texts) < len(value):
            yield jsonschema.ValidationError("has items that are equal")


def _as_equal(value: Any) -> Any:
    """A value in a form whose text is the same for what JSON Schema takes for equal."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _as_equal(item) for name, item in value.items()}
    return [_as_equal(item) for item in value] if isinstance(value, list) else value


class TooManyReferences(Exception):
    """A validation followed `$ref` more often than `MAX_REFERENCES` times."""


MAX_REFERENCES = 100_000

_FOLLOW: Any = jsonschema.Draft202012Validator.VALIDATORS["$ref"]


@dataclass(slots=True)
class _Followed:
    """The references of one validation.

    Attributes:
        left: How many more may be followed.
        first: What is wrong, first of all, with a value that a reference was followed for, by reference and identity;
            None = nothing.
    """

    left: int = MAX_REFERENCES
    first: dict[tuple[str, int], jsonschema.ValidationError | None] = field(default_factory=dict)


_followed: ContextVar[_Followed] = ContextVar("references followed")


@contextmanager
def bounded_references() -> Iterator[None]:
    """Bounds one validation. Raises TooManyReferences."""
    token = _followed.set(_Followed())
    try:
        yield
    finally:
        _followed.reset(token)


def _reference(validator: Any, ref: str, value: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    """Follows a reference once for each value. Another time one fault is enough: the others were told."""
    followed = _followed.get()
    which = ref, id(value)  # the value lives as long as the validation; the root of references is always the same
    if which in followed.first:
        if (known := followed.first[which]) is not None:
            yield jsonschema.ValidationError.create_from(known)  # those further out write their place into it
        return
    followed.left -= 1
    if followed.left < 0:
        raise TooManyReferences
    for error in _FOLLOW(validator, ref, value, schema):
        followed.first.setdefault(which, jsonschema.ValidationError.create_from(error))
        yield error
    followed.first.setdefault(which, None)


Validator: Any = extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator,
    {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
        "$ref": _reference,
    },
)
"""Draft 2020-12."""
