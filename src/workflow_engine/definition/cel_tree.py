"""Reads what a compiled CEL expression refers to, from its serialized form (the protobuf message cel.expr.CheckedExpr).

The library compiles and evaluates but does not show its syntax tree. The serialized form is CEL's published, stable
exchange format; the few fields needed are read here without a protobuf runtime.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LIST_LITERAL = 7

MACRO = "macro"
"""What a macro over a list (`map`, `filter`, `exists`, ...) is called among the functions."""


@dataclass(frozen=True, slots=True)
class References:
    """What an expression reads.

    Attributes:
        paths: Every chain of names from a variable, as long as it is known beforehand: `steps.a.output.rows[0].id`
            is `("steps", "a", "output", "rows", 0, "id")`. Variables of macros are left out.
        path: The chain, when the expression is nothing but one chain without optional parts.
        mapped: The chains that a list-building macro (`map`, `filter`) walks over.
        calls: The functions it calls, each as often as it stands there; a macro is the function `macro`.
        mentions: How often it names a variable.
    """

    paths: frozenset[Path]
    path: Path | None
    mapped: frozenset[Path]
    calls: tuple[str, ...] = ()
    mentions: int = 0

    def reads(self, variable: str) -> bool:
        """Whether the expression reads a variable, or a part of it."""
        return any(path[0] == variable for path in self.paths)


def read_references(serialized: bytes) -> References:
    """Read the references of an expression from what `Expression.serialize()` returned."""
    checked = _bytes(serialized, 2)
    reader = _Reader()
    chain = reader.walk(_bytes(checked, 4), frozenset())
    whole = chain.path if chain is not None and chain.plain else None
    return References(frozenset(reader.paths), whole, frozenset(reader.mapped), tuple(reader.calls), reader.mentions)


@dataclass(frozen=True, slots=True)
class _Chain:
    path: Path
    plain: bool  # no has(), no optional selection: walking the names gives the value


class _Reader:
    def __init__(self) -> None:
        self.paths: set[Path] = set()
        self.mapped: set[Path] = set()
        self.calls: list[str] = []
        self.mentions = 0

    def walk(self, expr: bytes, local: frozenset[str]) -> _Chain | None:
        """Collect the chains below `expr`; return the chain if `expr` itself is one."""
        chain = self._chain(expr, local)
        if chain is not None:
            self.paths.add(chain.path)
        return chain

    def _chain(self, expr: bytes, local: frozenset[str]) -> _Chain | None:
        for number, value in _fields(expr):
            if not isinstance(value, bytes):
                continue
            if number == 4:  # a name
                self.mentions += 1
                name = _text(value, 1).removeprefix(".")
                return None if name in local else _Chain((name,), True)
            if number == 5:  # operand.field
                return self._longer(self._chain(_bytes(value, 1), local), _text(value, 2), plain=not _integer(value, 3))
            if number == 6:
                return self._call(value, local)
            if number == _LIST_LITERAL:
                for element in _all(value, 1):
                    self.walk(element, local)
            elif number == 8:  # {key: value} or Message{field: value}
                for entry in _all(value, 2):
                    for part in (*_all(entry, 3), *_all(entry, 4)):
                        self.walk(part, local)
            elif number == 9:
                self._comprehension(value, local)
        return None

    def _call(self, call: bytes, local: frozenset[str]) -> _Chain | None:
        function, arguments = _text(call, 2), list(_all(call, 3))
        self.calls.append(function)
        if function in {"_[_]", "_[?_]", "_?._"} and len(arguments) == 2:
            key = _constant(arguments[1])
            operand = self._chain(arguments[0], local)
            if key is not None:
                return self._longer(operand, key, plain=function == "_[_]")
            if operand is not None:
                self.paths.add(operand.path)
            self.walk(arguments[1], local)
            return None
        for part in (*_all(call, 1), *arguments):
            self.walk(part, local)
        return None

    @staticmethod
    def _longer(operand: _Chain | None, key: str | int, *, plain: bool) -> _Chain | None:
        return operand and _Chain((*operand.path, key), operand.plain and plain)

    def _comprehension(self, value: bytes, local: frozenset[str]) -> None:
        """A macro after expansion: `list.map(x, f(x))` walks a range with variables of its own."""
        self.calls.append(MACRO)
        own = local | {_text(value, 1), _text(value, 3), _text(value, 8)}
        walked = self.walk(_bytes(value, 2), local)
        self.walk(_bytes(value, 4), local)
        for number in (5, 6, 7):
            self.walk(_bytes(value, number), own)
        builds_list = any(number == _LIST_LITERAL for number, _ in _fields(_bytes(value, 4)))
        if builds_list and walked is not None:
            self.mapped.add(walked.path)


def _constant(expr: bytes) -> str | int | None:
    """The value of a literal string or integer, else None."""
    constant = next(_all(expr, 3), None)
    if constant is None:
        return None
    for number, value in _fields(constant):
        if number == 6 and isinstance(value, bytes):
            return value.decode()
        if number == 3 and isinstance(value, int):
            return value - (1 << 64) if value >> 63 else value
    return None


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message in order: number and value (fixed-size values as their bytes)."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            number, at = _varint(message, at)
            yield tag >> 3, number
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"unexpected wire type {kind} in a serialized expression")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _all(message: bytes, number: int) -> Iterator[bytes]:
    return (value for found, value in _fields(message) if found == number and isinstance(value, bytes))


def _bytes(message: bytes, number: int) -> bytes:
    return next(_all(message, number), b"")


def _text(message: bytes, number: int) -> str:
    return _bytes(message, number).decode()


def _integer(message: bytes, number: int) -> int:
    return next((v for found, v in _fields(message) if found == number and isinstance(v, int)), 0)
