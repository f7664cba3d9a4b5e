"""Which code serves which task type: the `@handler` decorator, and the registry a worker fills when it starts.

The decorator only marks a function; nothing global changes and the function stays an ordinary one. A `Registry` finds
the marks: in modules (`include`) and behind entry points of the group `workflow_engine.handlers`.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, TypeVar

from workflow_engine.definition.durations import parse_duration
from workflow_engine.errors import HandlerInvalid, HandlerNotFound, InputInvalid
from workflow_engine.handlers.base import Handler
from workflow_engine.handlers.functions import accepts_inputs_and_context, as_handle
from workflow_engine.handlers.threads import Threads

ENTRY_POINT_GROUP = "workflow_engine.handlers"

Function = TypeVar("Function", bound=Callable[..., Any])

_MARK = "__workflow_handlers__"
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class _Declaration:
    type: str
    function: Callable[..., Any]
    timeout: float | None
    max_attempts: int | None
    description: str

    @property
    def place(self) -> str:
        return f"{self.function.__module__}.{self.function.__qualname__}"


def handler(
    type: str, *, timeout: str | float | None = None, retries: int | None = None, description: str | None = None
) -> Callable[[Function], Function]:
    """Declare a function to be the handler of a task type.

    The function takes `(inputs, ctx)`, may be `def` or `async def`, and returns the output. It is returned unchanged,
    so a test can call it directly. A function may serve several types: stack the decorator.

    Args:
        type: Task type, the `type` of steps: a letter, then up to 127 letters, digits, `_`, `-`, `.`.
        timeout: Longest time of one attempt, as a duration (`"5m"`) or in seconds; None: the engine's default.
            A step's own `timeout` wins.
        retries: Tries after the first, >= 0; None: the engine's default. A step's own `retries` win.
        description: One line for listings; None: the first line of the docstring.

    Raises:
        HandlerInvalid: The declaration makes no sense; the message names the function.
    """

    def declare(function: Function) -> Function:
        declaration = _Declaration(
            type=type,
            function=function,
            timeout=_seconds(type, timeout),
            max_attempts=None if retries is None else retries + 1,
            description=description if description is not None else _first_line(function.__doc__),
        )
        if not _TYPE.fullmatch(type):
            raise HandlerInvalid(
                f"{declaration.place}: {type!r} is not a task type (a letter, then letters, digits, _-.)"
            )
        if retries is not None and retries < 0:
            raise HandlerInvalid(f"{declaration.place}: retries={retries} must be 0 or more")
        if not accepts_inputs_and_context(function):
            raise HandlerInvalid(f"{declaration.place}: a handler takes exactly two arguments, (inputs, ctx)")
        setattr(function, _MARK, (*getattr(function, _MARK, ()), declaration))
        return function

    return declare


class Registry:
    """The handlers of one worker, by task type. Filled at start; read-only afterwards.

    Args:
        builtin: Handlers of the engine's own types. They cannot be overridden: a step of type `http` means the same
            on every worker.
        reserved: Types that the engine does itself, without a handler. They cannot be taken either.
        threads: Threads for sync handlers; a worker's concurrency is a good number.
    """

    def __init__(
        self, builtin: Mapping[str, Handler] | None = None, *, reserved: Collection[str] = (), threads: int = 10
    ) -> None:
        self._builtin = dict(builtin or {})
        self._reserved = frozenset((*self._builtin, *reserved))
        self._handlers = dict(self._builtin)
        self._declarations: dict[str, _Declaration] = {}
        self._threads = Threads(threads)

    @property
    def types(self) -> list[str]:
        """The task types that can be served, sorted."""
        return sorted(self._handlers)

    def get(self, type: str) -> Handler:
        """The handler of a task type.

        Raises:
            HandlerNotFound: Nothing is registered for it.
        """
        try:
            return self._handlers[type]
        except KeyError:
            raise HandlerNotFound(
                f"No handler is registered for {type!r}. Known: {', '.join(self.types) or 'none'}.",
                hint="Load it with --include MODULE or WORKFLOW_INCLUDE, or install the package that brings it.",
            ) from None

    def add(self, function: Callable[..., Any]) -> None:
        """Register a function that was declared with `@handler`. Adding the same one again does nothing.

        Raises:
            HandlerInvalid: It was not declared, or its type is taken.
        """
        declarations = _declared(function)
        if not declarations:
            raise HandlerInvalid(f"{function!r} is not a handler: decorate it with @handler(TYPE)")
        for declaration in declarations:
            self._register(declaration)

    def include(self, module: str) -> None:
        """Import a module and register the handlers found in it, or, in a package, in any of its loaded submodules.

        Args:
            module: Dotted name, importable from where the process runs.

        Raises:
            HandlerInvalid: It cannot be imported, declares no handler, or one of its types is taken.
        """
        self._include(_imported(module))

    def load_entry_points(self) -> None:
        """Register what installed packages offer in the entry-point group `workflow_engine.handlers`.

        An entry point names a declared function (`pkg.module:function`) or a module (`pkg.module`).

        Raises:
            HandlerInvalid: One of them cannot be loaded, or its type is taken; the message names it.
        """
        for entry_point in sorted(entry_points(group=ENTRY_POINT_GROUP)):
            try:
                found = entry_point.load()
            except Exception as error:  # whatever a foreign package raises while it is imported
                raise HandlerInvalid(f"entry point {entry_point.name} = {entry_point.value}: {error!r}") from error
            if isinstance(found, ModuleType):
                self._include(found)
            else:
                self.add(found)

    def close(self) -> None:
        """Let the threads of sync handlers end; hung ones are left behind and die with the process."""
        self._threads.close()

    def _include(self, module: ModuleType) -> None:
        declarations = [declaration for found in _with_submodules(module) for declaration in _declared_in(found)]
        if not declarations:
            raise HandlerInvalid(
                f"Module {module.__name__} declares no handler.",
                hint="Decorate functions with @handler(TYPE), and let a package import the modules that hold them.",
            )
        for declaration in declarations:
            self._register(declaration)

    def _register(self, new: _Declaration) -> None:
        if new.type in self._reserved:
            raise HandlerInvalid(f"{new.place}: {new.type!r} is a built-in task type and cannot be overridden")
        old = self._declarations.setdefault(new.type, new)
        if old is not new:
            raise HandlerInvalid(f"Two handlers for {new.type!r}: {old.place} and {new.place}")
        self._handlers[new.type] = Handler(
            new.type, as_handle(new.function, self._threads), new.timeout, new.max_attempts, new.description
        )


def _seconds(type: str, timeout: str | float | None) -> float | None:
    if timeout is None:
        return None
    try:
        seconds = parse_duration(timeout)
    except InputInvalid as error:
        raise HandlerInvalid(f"Handler {type!r}: timeout={timeout!r} {error.faults[0].message}") from error
    if seconds == 0:
        raise HandlerInvalid(f"Handler {type!r}: timeout={timeout!r} must be longer than zero")
    return seconds


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0]


def _declared(candidate: object) -> tuple[_Declaration, ...]:
    # Only what @handler put there: a module may hold objects (mocks, proxies) that answer to any attribute.
    declarations = getattr(candidate, "__dict__", {}).get(_MARK, ())
    return declarations if isinstance(declarations, tuple) else ()


def _declared_in(module: ModuleType) -> list[_Declaration]:
    return [declaration for value in list(vars(module).values()) for declaration in _declared(value)]


def _with_submodules(module: ModuleType) -> list[ModuleType]:
    prefix = f"{module.__name__}."
    return [module, *(found for name, found in sorted(sys.modules.items()) if name.startswith(prefix) and found)]


def _imported(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise HandlerInvalid(
                f"There is no module {module!r} to include.", hint="It must be importable: check PYTHONPATH."
            ) from error
        raise HandlerInvalid(f"Module {module!r} cannot be imported: {error}") from error
    except Exception as error:  # whatever a user's module raises while it is imported
        raise HandlerInvalid(f"Module {module!r} cannot be imported: {error!r}") from error
