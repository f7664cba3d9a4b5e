"""A form made of the JSON Schema of an input or answer: what people fill in instead of writing JSON.

What a field cannot say is written as JSON in it, so that every input can be given; and nothing is checked here: the API
does that, and what it finds wrong is shown at the field that has the pointer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from workflow_engine.definition.faults import join

Kind = Literal["text", "long", "number", "flag", "choice", "lines", "json", "group"]

_DEEPEST = 4  # groups in groups; what is deeper is JSON
_MOST = 100  # fields of a form; of more people would lose sight
_LONG = 120  # characters from which on a text has a box of several lines
_NAMED = {"email": "email", "idn-email": "email", "uri": "url", "date": "date", "password": "password"}
_LINES_OF = ("string", "integer", "number")
_NOTHING = object()  # is there
_DEFAULT = object()  # is meant: that of the schema, if it has one


class Unfit(Exception):
    """A value cannot be shown in the fields of a form."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A field, or a group of them.

    Attributes:
        pointer: Where its value goes in the body.
        label: What it is called.
        kind: How it is put in. `lines` is a list, one value to a line; `choice` one of some JSON values.
        required: It must be given, or the browser does not send the form.
        help: What it means.
        limits: What is accepted, in few words.
        value: What is there at first.
        options: Of a `choice`: the JSON of each value, and what it is called.
        type: Of a `text`: what browsers call its kind. Of `lines` and `number`: the type of a value.
        example: Shown where nothing has been put in.
        entries: Of a `group`.
    """

    pointer: str
    label: str
    kind: Kind
    required: bool = False
    help: str = ""
    limits: str = ""
    value: str = ""
    options: Sequence[tuple[str, str]] = ()
    type: str = "text"
    example: str = ""
    entries: Sequence[Entry] = ()


def entries_of(schema: Mapping[str, Any] | None, given: Any = _DEFAULT, *, pointer: str = "/input") -> Sequence[Entry]:
    """The fields of a value; none where its schema does not say which it has, so that it is written as JSON.

    Args:
        schema: One that was accepted with its definition; None: there is none.
        given: What is there at first; else the defaults of the schema are.
        pointer: Where it goes in the body.

    Raises:
        Unfit: The fields cannot show what is given.
    """
    if schema is None:
        return ()
    entry = _Form(schema).entry(schema, pointer, "", required=True, given=given, depth=0)
    found = entry.entries if entry.kind == "group" else ()
    return found if _count(found) <= _MOST else ()


def _count(entries: Sequence[Entry]) -> int:
    return sum(1 + _count(entry.entries) for entry in entries)


class _Form:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def entry(self, schema: Any, pointer: str, name: str, *, required: bool, given: Any, depth: int) -> Entry:
        schema = self._resolved(schema)
        value = schema.get("default", _NOTHING) if given is _DEFAULT else given
        types = [schema["type"]] if isinstance(schema.get("type"), str) else list(schema.get("type") or ())
        about: dict[str, Any] = {
            "pointer": pointer,
            "label": str(schema.get("title") or name),
            "required": required,
            "help": str(schema.get("description") or ""),
            "limits": ", ".join(_limits(schema)),
            "example": _example(schema),
        }
        if options := _options(schema):
            chosen = "" if value is _NOTHING else _json(value)
            if chosen and chosen not in dict(options):
                raise Unfit
            if chosen == "" and required and len(options) == 1:
                chosen = options[0][0]
            return Entry(**about, kind="choice", options=options, value=chosen)
        kind = next((each for each in types if each != "null"), "")
        if len([each for each in types if each != "null"]) != 1 or value is None:
            return self._as_json(about, value)
        if kind == "object":
            # The defaults inside what nobody may want are examples: what is left alone is left out.
            missing = _DEFAULT if given is _DEFAULT and (required or value is not _NOTHING) else _NOTHING
            return self._group(schema, about, value, missing, depth)
        if kind == "array":
            return self._list(schema, about, value)
        return _simple(schema, kind, about, value)

    def _group(self, schema: Mapping[str, Any], about: dict[str, Any], value: Any, missing: Any, depth: int) -> Entry:
        fields = schema.get("properties")
        if not isinstance(fields, dict) or not fields or depth >= _DEEPEST or "patternProperties" in schema:
            return self._as_json(about, value)
        held = {} if value is _NOTHING else value
        if not isinstance(held, dict) or not held.keys() <= fields.keys():
            raise Unfit
        needed = [name for name in schema.get("required") or () if name in fields]
        names = [*needed, *sorted(name for name in fields if name not in needed)]  # Postgres keeps no order of keys
        entries = [
            self.entry(
                fields[name],
                join(about["pointer"], name),
                name,
                # What is around it may be left out as a whole: then nothing of it must be there.
                required=about["required"] and name in needed,
                given=held.get(name, missing),
                depth=depth + 1,
            )
            for name in names
        ]
        return Entry(**about, kind="group", entries=entries)

    def _list(self, schema: Mapping[str, Any], about: dict[str, Any], value: Any) -> Entry:
        items = self._resolved(schema.get("items", True))
        if items.get("type") not in _LINES_OF or _options(items) or "prefixItems" in schema:
            return self._as_json(about, value)
        held = [] if value is _NOTHING else value
        if not isinstance(held, list) or not all(_is(each, items["type"]) and "\n" not in str(each) for each in held):
            raise Unfit
        limits = ", ".join(text for text in ("one to a line", about["limits"], *_limits(items)) if text)
        about = {**about, "limits": limits, "example": about["example"] if "\n" in about["example"] else ""}
        return Entry(**about, kind="lines", type=items["type"], value="\n".join(_text_of(each) for each in held))

    def _as_json(self, about: dict[str, Any], value: Any) -> Entry:
        limits = ", ".join(text for text in ("JSON", about["limits"]) if text)
        shown = "" if value is _NOTHING else json.dumps(value, indent=2, ensure_ascii=False)
        return Entry(**{**about, "limits": limits}, kind="json", value=shown)

    def _resolved(self, schema: Any) -> Mapping[str, Any]:
        """A schema with what it refers to; what it says itself counts more. References lead somewhere, and not in a
        circle: that was checked when the definition was accepted."""
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        found: Any = self._root
        for part in reference.removeprefix("#").split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            found = found[int(key)] if isinstance(found, list) else found[key]
        return {**self._resolved(found), **{name: value for name, value in schema.items() if name != "$ref"}}


def _simple(schema: Mapping[str, Any], kind: str, about: dict[str, Any], value: Any) -> Entry:
    if value is not _NOTHING and not _is(value, kind):
        raise Unfit
    if kind == "boolean":
        if about["required"] or value is not _NOTHING:
            return Entry(**about, kind="flag", value="yes" if value is True else "")
        return Entry(**about, kind="choice", options=(("true", "yes"), ("false", "no")))
    text = "" if value is _NOTHING else _text_of(value)
    if kind in ("integer", "number"):
        return Entry(**about, kind="number", type=kind, value=text)
    is_long = "\n" in text or len(text) > _LONG or schema.get("contentMediaType") or schema.get("maxLength", 0) > 500
    if is_long:
        return Entry(**about, kind="long", value=text)
    return Entry(**about, kind="text", type=_NAMED.get(str(schema.get("format")), "text"), value=text)


def _is(value: Any, kind: str) -> bool:
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "string":
        return isinstance(value, str)
    return isinstance(value, int if kind == "integer" else (int, float)) and not isinstance(value, bool)


def _options(schema: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Of a schema that is one of some values."""
    if "const" in schema:
        return [(_json(schema["const"]), _text_of(schema["const"]))]
    if isinstance(schema.get("enum"), list):
        return [(_json(value), _text_of(value)) for value in schema["enum"]]
    for several in (schema.get("oneOf"), schema.get("anyOf")):
        if (
            isinstance(several, list)
            and several
            and all(isinstance(each, dict) and "const" in each for each in several)
        ):
            return [(_json(each["const"]), str(each.get("title") or _text_of(each["const"]))) for each in several]
    return []


def _example(schema: Mapping[str, Any]) -> str:
    """What is shown where nothing was put in: what is then taken for it, or else what could be."""
    examples = schema.get("examples")
    found = [schema["default"]] if "default" in schema else examples if isinstance(examples, list) else []
    return _text_of(found[0]) if found else ""


def _limits(schema: Mapping[str, Any]) -> Iterator[str]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        yield f"{low} to {high}"
    else:
        yield from (f"{schema[name]}{words}" for name, words in _BOUNDS if name in schema)
    yield from (f"{words} {schema[name]}" for name, words in _EXCLUSIVE if name in schema)
    shortest, longest = schema.get("minLength"), schema.get("maxLength")
    if shortest and longest:
        yield f"{shortest} to {longest} characters"
    elif longest:
        yield f"at most {longest} characters"
    elif shortest and shortest > 1:
        yield f"at least {shortest} characters"
    fewest, most = schema.get("minItems"), schema.get("maxItems")
    if fewest and most:
        yield f"{fewest} to {most} of them"
    elif most:
        yield f"at most {most} of them"
    elif fewest and fewest > 1:
        yield f"at least {fewest} of them"
    if isinstance(schema.get("format"), str) and schema["format"] not in _NAMED:
        yield _FORMATS.get(schema["format"], schema["format"])
    if isinstance(schema.get("pattern"), str):
        yield f"as {schema['pattern']}"


_BOUNDS = (("minimum", " or more"), ("maximum", " or less"))
_EXCLUSIVE = (("exclusiveMinimum", "more than"), ("exclusiveMaximum", "less than"))
_FORMATS = {"date-time": "such as 2026-01-31T12:00:00Z", "uuid": "a UUID"}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
