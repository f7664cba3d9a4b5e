"""CEL expressions: compiled once per text, evaluated against a scope. The only module that knows the CEL library.

Evaluation is pure (no clock, no randomness), bounded (by the library in iterations and recursion, by `sandbox` in time
and memory) and happens on workers only. Whatever goes wrong becomes `TaskError("expression", ...)`, which is never
retried.
"""

from __future__ import annotations

import datetime
import math
import re
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_encoders, ext_math, ext_optional, ext_strings

from workflow_engine.definition.cel_lists import LIST_FUNCTIONS, list_functions
from workflow_engine.definition.cel_tree import read_references
from workflow_engine.definition.faults import did_you_mean
from workflow_engine.definition.sandbox import SANDBOX
from workflow_engine.definition.scope import VARIABLES, Scope, follow, json_type, pick, selection, written
from workflow_engine.definition.weight import LINEAR, is_cheap
from workflow_engine.errors import Fault, InputInvalid, TaskError

MAX_EXPRESSION_LENGTH = 10_000
MAX_MAPPED_ITEMS = 1_000
"""`map` and `filter` copy the list they build at each step: 1,000 items take some 15 ms, 9,000 take seconds."""

_CACHED_EXPRESSIONS = 4_096
_CACHED_ENVIRONMENTS = 64
_COMMON_NAMES = frozenset(VARIABLES)


class Expression:
    """One expression, compiled. Made by `compile_expression`.

    Attributes:
        text: As written.
        references: What it reads.
        can_be_bool: False when the compiler knows that it gives something else than true or false.
    """

    def __init__(self, text: str, names: tuple[str, ...], program: Any) -> None:
        self.text = text
        self._names = names
        self.references = read_references(program.serialize())
        self.can_be_bool: bool = program.return_type().name() in ("BOOL", "DYN")
        self._program = program
        self._wanted = selection(self.references.paths)
        self._multiplies = sum(function not in LINEAR for function in self.references.calls)

    def evaluate(self, scope: Scope) -> Any:
        """Its value as plain JSON data: timestamps become RFC 3339 text, durations text such as `90s`.

        Raises:
            TaskError: Of type `expression`, not retryable; the message names the expression.
        """
        try:
            if self.references.path is not None:
                # By far the most common form. Walking the names here keeps order and numbers exact and costs 1 us;
                # the library would copy everything it passes.
                return follow(self.references.path, scope)
            self._check_mapped(scope)
            data = pick(scope, self._wanted)
            if self._is_cheap(data):
                return self.evaluate_here(data)
            return SANDBOX.evaluate(self.text, self._names, data)
        except (LookupError, ValueError, MemoryError) as error:
            raise _failed(self.text, str(error)) from error

    def _is_cheap(self, data: dict[str, Any]) -> bool:
        return is_cheap(data, mentions=self.references.mentions, multiplies=self._multiplies, length=len(self.text))

    def evaluate_here(self, data: dict[str, Any]) -> Any:
        """The value, whatever it takes; see `evaluate`.

        Args:
            data: The part of the scope that it reads.

        Raises:
            ValueError: With a reason.
        """
        return _as_json(self._run(data))

    def _run(self, data: dict[str, Any]) -> Any:
        """What the library makes of it.

        It reports most errors as a value of the type ERROR and some as an exception (RuntimeError, TypeError or
        SystemError, without a pattern); both become ValueError.
        """
        try:
            value = self._program.eval(data=data)
            kind, plain = value.type().name(), value.plain_value()
        except Exception as error:
            if isinstance(error.__cause__ or error, MemoryError):
                raise MemoryError("there is not enough memory") from error
            raise ValueError(_reason(error)) from error
        if kind == "ERROR":
            raise ValueError(_reason(plain))
        return plain

    def _check_mapped(self, scope: Scope) -> None:
        for path in self.references.mapped:
            try:
                items = follow(path, scope)
            except LookupError:
                continue  # absent, or behind an optional selection: for the evaluation to judge
            if isinstance(items, list | dict) and len(items) > MAX_MAPPED_ITEMS:
                raise ValueError(
                    f"map and filter take at most {MAX_MAPPED_ITEMS:,} items and {written(path)} has {len(items):,}; "
                    f"give longer lists to a handler"
                )


@lru_cache(maxsize=_CACHED_EXPRESSIONS)
def compile_expression(text: str, names: tuple[str, ...] = ()) -> Expression:
    """Compile an expression; the same text gives the same object.

    Args:
        text: CEL without `${ }`.
        names: Variables beside those that every expression may name: what a `for_each` calls its items.

    Raises:
        InputInvalid: With one fault, code `invalid-template`, without a place.
    """
    if not text.strip():
        raise _invalid("the expression is empty")
    if len(text) > MAX_EXPRESSION_LENGTH:
        raise _invalid(f"is longer than {MAX_EXPRESSION_LENGTH:,} characters")
    try:
        program = _environment(tuple(sorted(set(names)))).compile(text)
    except Exception as error:  # RuntimeError in practice; the library documents no type
        raise _invalid(_complaint(str(error), names)) from error
    return Expression(text, names, program)


def evaluate_here(text: str, names: tuple[str, ...], data: dict[str, Any]) -> Any:
    """In the sandbox: see `Expression.evaluate_here`."""
    return compile_expression(text, names).evaluate_here(data)


def evaluate(expression: str, scope: Scope) -> Any:
    """The value of an expression as plain JSON data.

    Args:
        expression: CEL without `${ }`.
        scope: It may hold more than the expression reads; only that part is copied.

    Raises:
        TaskError: Of type `expression`, not retryable; the message names the expression.
    """
    try:
        compiled = compile_expression(expression, tuple(name for name in scope if name not in _COMMON_NAMES))
    except InputInvalid as error:
        raise _failed(expression, error.faults[0].message) from error
    return compiled.evaluate(scope)


def holds(condition: str, scope: Scope) -> bool:
    """Whether a condition is true.

    Raises:
        TaskError: As `evaluate`; also when the value is neither true nor false.
    """
    value = evaluate(condition, scope)
    if not isinstance(value, bool):
        raise _failed(condition, f"a condition must be true or false, and this is {json_type(value)}")
    return value


@lru_cache(maxsize=_CACHED_ENVIRONMENTS)
def _environment(names: tuple[str, ...]) -> Any:
    # One environment for all expressions that see the same names: `steps` is one map, and `scope.misuses` checks the
    # names below it. That gives better messages than a variable per step, and definitions share compiled expressions.
    dyn = cel.Type.DYN
    return cel.NewEnv(
        variables=dict.fromkeys((*VARIABLES, *names), dyn),
        functions=list_functions(),
        extensions=[
            ext_strings.ExtStrings(),
            ext_math.ExtMath(),
            ext_optional.ExtOptional(),
            ext_encoders.ExtEncoders(),
        ],
    )


def _as_json(value: Any) -> Any:
    """A value of the library as plain JSON data.

    Raises:
        ValueError: It has no JSON form.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise ValueError(f"the value is {value}, which JSON cannot hold")
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        return {_as_key(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, datetime.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, datetime.timedelta):
        return _duration_text(value)
    if isinstance(value, bytes | bytearray):
        raise ValueError("the value is bytes; use string(...) or base64.encode(...)")
    raise ValueError(f"the value ({value}) is a type, which JSON cannot hold")


def _as_key(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueError(f"the keys of a JSON object are strings; write string({key}) for the key {key}")
    return key


def _duration_text(value: datetime.timedelta) -> str:
    """As protobuf's JSON form, which CEL's `duration()` reads again: seconds with as many decimals as needed."""
    sign = "-" if value < datetime.timedelta() else ""
    value = abs(value)
    decimals = f".{value.microseconds:06}".rstrip("0").rstrip(".")
    return f"{sign}{value.days * 86_400 + value.seconds}{decimals}s"


def _failed(text: str, reason: str) -> TaskError:
    shown = text if len(text) <= 200 else text[:199] + "…"
    return TaskError("expression", f"cannot evaluate `{shown}`: {reason}", retryable=False)


def _invalid(message: str) -> InputInvalid:
    return InputInvalid([Fault("", "invalid-template", message)])


def _complaint(raw: str, names: tuple[str, ...]) -> str:
    """The compiler's first complaint in one line.

    It comes as `INVALID_ARGUMENT: ERROR: <input>:1:8: undeclared reference to 'x' (in container '')` and a drawing.
    """
    if raw.endswith("limit: 32 [CANCELLED]") or "max recursion depth" in raw:
        return "is nested too deeply"
    match = re.search(r"<input>:\d+:(\d+): (.*)", raw)
    column, message = (match[1], match[2]) if match else ("", raw.split("\n", 1)[0])
    message = _reason(message).removesuffix(" (in container '')").removeprefix("Syntax error: ")
    message = re.sub(r"(mismatched|extraneous) input|no viable alternative at input", "unexpected", message)
    message = re.sub(r" expecting .*", "", message).replace("'<EOF>'", "end").replace("<EOF>", "end")
    if name := re.fullmatch(r"undeclared reference to '([^']*)'", message):
        known = (*VARIABLES, *names)
        hint = did_you_mean(name[1], known) or f"; the variables are {', '.join(known)}"
        if called := LIST_FUNCTIONS.get(name[1]):
            hint = f"; write {called}"
        message = f"unknown name or function `{name[1][:80]}`{hint}"
    message = message if len(message) <= 240 else message[:239] + "…"
    return f"{message} (at character {column})" if column else message


def _reason(error: object) -> str:
    """A message of the library without its status codes."""
    message = re.sub(r"^(?:[A-Z_]{4,}: )+", "", str(error))
    message = re.sub(r" \[[A-Z_]+\]$", "", message)
    if "Unable to convert function return value" in message or "returned a result with an exception set" in message:
        return "the value is optional; end with .orValue(...)"
    if absent := re.fullmatch(r'Key not found in map : "(.*)"', message):
        return f"there is no `{absent[1]}`; guard it with has(...) or .?{absent[1]}.orValue(...)"
    return message
