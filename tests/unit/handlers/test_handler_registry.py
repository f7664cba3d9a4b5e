"""Declaring handlers, finding them in modules and packages, and refusing what is ambiguous."""

import importlib
import sys
import textwrap

import pytest

from workflow_engine import handler
from workflow_engine.errors import HandlerInvalid, HandlerNotFound
from workflow_engine.handlers.base import Handler
from workflow_engine.handlers.basic import noop
from workflow_engine.handlers.registry import Registry


@pytest.fixture
def registry():
    registry = Registry({"noop": Handler("noop", noop)})
    yield registry
    registry.close()


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes importable files: `write("pkg/mod.py", source)`. What was imported from them is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name, source):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
        importlib.invalidate_caches()

    yield write
    for name in set(sys.modules) - before:
        module_file = getattr(sys.modules[name], "__file__", None) or ""
        if module_file.startswith(str(tmp_path)):
            del sys.modules[name]


def declare(type="thumbnail", **options):
    @handler(type, **options)
    def thumbnail(inputs, ctx):
        """Makes images small.

        More about it.
        """

    return thumbnail


def test_a_declaration_carries_its_defaults(registry):
    registry.add(declare(timeout="5m", retries=3))
    found = registry.get("thumbnail")
    assert (found.type, found.timeout, found.max_attempts) == ("thumbnail", 300.0, 4)
    assert found.description == "Makes images small."


def test_without_defaults_the_engines_apply(registry):
    registry.add(declare(description="Something else"))
    found = registry.get("thumbnail")
    assert (found.timeout, found.max_attempts, found.description) == (None, None, "Something else")


def test_no_retries_means_one_attempt(registry):
    registry.add(declare(retries=0))
    assert registry.get("thumbnail").max_attempts == 1


def test_a_declared_function_can_be_called_as_before():
    @handler("double")
    def double(inputs, ctx):
        return inputs["n"] * 2

    assert double({"n": 21}, None) == 42


def test_one_function_may_serve_two_types(registry):
    registry.add(handler("small")(declare("large")))
    assert registry.types == ["large", "noop", "small"]


@pytest.mark.parametrize("type", ["", "1st", "a b", "a/b", "é", "x" * 129, "a\n"])
def test_a_strange_type_is_refused(type):
    with pytest.raises(HandlerInvalid, match="is not a task type"):
        declare(type)


@pytest.mark.parametrize("timeout", ["soon", -1, 0, "0s", float("inf")])
def test_a_strange_timeout_is_refused(timeout):
    with pytest.raises(HandlerInvalid, match="timeout="):
        declare(timeout=timeout)


def test_negative_retries_are_refused():
    with pytest.raises(HandlerInvalid, match="retries=-1"):
        declare(retries=-1)


@pytest.mark.parametrize("function", [lambda: None, lambda inputs: None, lambda a, b, c: None, lambda a, *, b: None])
def test_a_function_that_cannot_take_inputs_and_context_is_refused(function):
    with pytest.raises(HandlerInvalid, match=r"\(inputs, ctx\)"):
        handler("thumbnail")(function)


def test_an_undeclared_function_is_refused(registry):
    with pytest.raises(HandlerInvalid, match="decorate it"):
        registry.add(print)


def test_adding_the_same_function_twice_does_nothing(registry):
    function = declare()
    registry.add(function)
    registry.add(function)
    assert registry.types == ["noop", "thumbnail"]


def test_two_handlers_for_one_type_are_refused_naming_both(registry):
    registry.add(declare())
    with pytest.raises(HandlerInvalid, match=r"Two handlers for 'thumbnail': .*thumbnail and .*thumbnail"):
        registry.add(declare())


def test_a_builtin_type_cannot_be_overridden(registry):
    with pytest.raises(HandlerInvalid, match="built-in"):
        registry.add(declare("noop"))
    assert registry.get("noop").handle is noop


def test_an_unknown_type_is_told_with_the_known_ones(registry):
    with pytest.raises(HandlerNotFound, match=r"'thumbnail'\. Known: noop"):
        registry.get("thumbnail")


def test_a_module_is_included(registry, write):
    write("my_steps.py", "from workflow_engine import handler\n@handler('a')\ndef f(inputs, ctx): ...")
    registry.include("my_steps")
    assert registry.types == ["a", "noop"]


def test_a_package_is_included_with_the_modules_it_imports(registry, write):
    write("my_pkg/__init__.py", "from . import deep")
    write("my_pkg/deep.py", "from workflow_engine import handler\n@handler('deep')\ndef f(inputs, ctx): ...")
    write("my_pkg/other.py", "from workflow_engine import handler\n@handler('other')\ndef f(inputs, ctx): ...")
    registry.include("my_pkg")
    assert registry.types == ["deep", "noop"]


def test_a_handler_that_two_modules_name_is_one_handler(registry, write):
    write("one_pkg/__init__.py", "from one_pkg.steps import f")
    write("one_pkg/steps.py", "from workflow_engine import handler\n@handler('a')\ndef f(inputs, ctx): ...")
    registry.include("one_pkg")
    registry.include("one_pkg.steps")
    assert registry.types == ["a", "noop"]


def test_importing_handlers_registers_them_nowhere(registry, write):
    write("quiet_steps.py", "from workflow_engine import handler\n@handler('quiet')\ndef f(inputs, ctx): ...")
    importlib.import_module("quiet_steps")
    assert registry.types == ["noop"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "declares no handler"),
        ("import no_such_library", "No module named 'no_such_library'"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_module_that_brings_nothing_is_refused(registry, write, source, message):
    write("broken_steps.py", source)
    with pytest.raises(HandlerInvalid, match=message):
        registry.include("broken_steps")


def test_a_module_that_does_not_exist_is_refused(registry):
    with pytest.raises(HandlerInvalid, match=r"There is no module 'nowhere\.steps'"):
        registry.include("nowhere.steps")


def install(write, entry_points):
    write("my_dist-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: my-dist\nVersion: 1.0\n")
    write("my_dist-1.0.dist-info/entry_points.txt", f"[workflow_engine.handlers]\n{entry_points}\n")


def test_installed_packages_bring_functions_and_modules(registry, write):
    write("dist_steps.py", "from workflow_engine import handler\n@handler('one')\ndef one(inputs, ctx): ...")
    write("dist_more.py", "from workflow_engine import handler\n@handler('two')\ndef two(inputs, ctx): ...")
    install(write, "one = dist_steps:one\nmore = dist_more")
    registry.load_entry_points()
    assert registry.types == ["noop", "one", "two"]


def test_an_entry_point_that_cannot_be_loaded_is_named(registry, write):
    install(write, "gone = no_such_module:function")
    with pytest.raises(HandlerInvalid, match="entry point gone = no_such_module:function"):
        registry.load_entry_points()
