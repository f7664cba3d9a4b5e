"""No expression that a user can write holds a worker for more than a second or grows its memory by more than 50 MB.

Counted is the processor time of this process and of the one that evaluates (both are waited for, so the machine's other
load does not count), and the memory of this one; that of the other has a limit set by the kernel.
"""

import resource
import time
from pathlib import Path
from typing import Any

import pytest

from workflow_engine.definition.expressions import compile_expression, evaluate
from workflow_engine.definition.sandbox import MAX_GROWTH, MAX_RESULT, SANDBOX, TOO_LARGE, TOO_LONG, Sandbox
from workflow_engine.definition.templates import Template
from workflow_engine.definition.weight import is_cheap, measure
from workflow_engine.errors import TaskError

SECONDS = 1.0
MEGABYTES = 50
LARGE: dict[str, Any] = {
    "input": {
        "s": "x" * 1_000_000,
        "l": list(range(1_000)),
        "l10": list(range(10_000)),
        "l100": list(range(100_000)),
        "strings": ["x" * 1_000] * 1_000,
        "rows": [{"id": n, "name": "n" * 50} for n in range(10_000)],
    }
}
GROWING = [
    "[input.s]" + ".map(a, a + a + a + a)" * 7,
    "[input.l]" + ".map(a, a + a + a + a)" * 7,
    "input.s.replace('x', input.strings[0])",
    "input.s.replace('', input.s)",
    "input.strings.join(input.s)",
    "input.l.map(x, input.s + 'a')",
    "(input.l10 + []).filter(x, true)",
    "input.l.map(x, input.l.map(y, 1))",
    "[" + ", ".join(["input.s"] * 500) + "]",
]
SLOW = [
    "input.l10.exists(x, input.s.contains('xxxxxxxxxy'))",
    "input.l10.exists(x, input.s.replace('x', 'y') == '')",
    "input.l10.exists(x, 'q' in input.l100)",
    "input.s.indexOf(input.s.substring(500000) + 'y')",
    "input.s.matches('((x{1,100}){1,10}){1,1}y')",
    "input.l10.all(x, size(input.s) > x)",
]


def cpu_seconds() -> float:
    """Of this process and the ended ones that it started."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def megabytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


@pytest.mark.parametrize("expression", GROWING)
def test_no_expression_takes_much_memory(expression: str) -> None:
    before = megabytes()
    with pytest.raises(TaskError) as failed:
        evaluate(expression, LARGE)
    assert failed.value.type == "expression"
    assert any(reason in failed.value.message for reason in (TOO_LARGE, TOO_LONG, "Iteration budget", "larger than"))
    assert megabytes() - before < MEGABYTES
    assert MAX_GROWTH < MEGABYTES * 2**20


@pytest.mark.parametrize("expression", SLOW)
def test_no_expression_takes_much_time(expression: str) -> None:
    evaluate("input.l10.all(x, true) || true", {"input": {"l10": [1] * 200}})
    SANDBOX.close()
    ready = Sandbox()
    ready.evaluate("1", (), {})
    before, own = cpu_seconds(), time.process_time()
    with pytest.raises(ValueError, match=r"computing|budget|memory"):
        ready.evaluate(expression, (), LARGE)
    ready.close()
    started = 1.5  # its start, which is counted when it ends
    assert cpu_seconds() - before < SECONDS + started
    assert time.process_time() - own < SECONDS / 2


@pytest.mark.parametrize(
    ("expression", "data"),
    [
        ("input.s.replace('x', input.t).size()", {"s": "x" * 2_200, "t": "z" * 2_000}),
        ("input.l.filter(x, x > 5).size()", {"l": list(range(130))}),
        ("[input.s].map(a, a + a + a + a).map(a, a + a + a + a)", {"s": "x" * 100}),
        ("true ? input.l : []", {"l": list(range(60_000))}),
        ("[input.s, input.s, input.s, input.s].size()", {"s": "x" * 900_000}),
    ],
)
def test_what_is_done_in_the_worker_itself_is_cheap(expression: str, data: dict[str, Any]) -> None:
    compiled = compile_expression(expression)
    assert compiled._is_cheap({"input": data})
    before = time.process_time()
    compiled.evaluate_here({"input": data})
    assert time.process_time() - before < SECONDS


def test_most_expressions_stay_in_the_worker_and_larger_work_leaves_it() -> None:
    small = {"input": {"rows": LARGE["input"]["rows"][:3], "n": 1, "s": LARGE["input"]["s"]}}
    for cheap in ("input.n + 1", "input.rows.exists(r, r.id == 2)", "input.s.startsWith('x')", "has(input.n)"):
        assert compile_expression(cheap)._is_cheap(_picked(cheap, small)), cheap
    for heavy in ("input.s.contains('y')", "input.rows.map(r, r.id)"):
        assert not compile_expression(heavy)._is_cheap(_picked(heavy, LARGE)), heavy


def _picked(expression: str, scope: dict[str, Any]) -> dict[str, Any]:
    from workflow_engine.definition.scope import pick, selection

    return pick(scope, selection(compile_expression(expression).references.paths))


def test_the_sandbox_gives_the_same_values_and_the_same_reasons() -> None:
    scope = {"input": {"rows": [{"a": 1.5, "b": None, "c": ["ü"]}] * 20}}
    for expression in ("input.rows.map(r, r)", "input.rows.map(r, r.a > 1.0)", "sum(input.rows.map(r, r.a))"):
        compiled = compile_expression(expression)
        assert SANDBOX.evaluate(expression, (), scope) == compiled.evaluate_here(scope)
    with pytest.raises(ValueError, match="there is no `d`"):
        SANDBOX.evaluate("input.rows.map(r, r.d)", (), scope)
    assert SANDBOX.evaluate("order.map(x, x)", ("order",), {"order": [1]}) == [1]


def test_the_sandbox_is_there_again_after_it_was_killed() -> None:
    sandbox = Sandbox()
    for _ in range(2):
        with pytest.raises(ValueError, match="computing"):
            sandbox.evaluate(SLOW[0], (), LARGE)
        assert sandbox.evaluate("[1].map(x, x + 1)", (), {}) == [2]
    sandbox.close()
    assert sandbox.evaluate("[2].map(x, x + 1)", (), {}) == [3]
    sandbox.close()


def test_a_value_is_bounded_as_it_must_be_read_here() -> None:
    with pytest.raises(TaskError, match=f"larger than {MAX_RESULT >> 20} MiB"):
        evaluate("input.s.replace('x', 'yyy')", LARGE)


def test_a_template_is_bounded_however_often_it_names_something() -> None:
    before = megabytes()
    with pytest.raises(TaskError, match="larger than 8 MiB"):
        Template("${ input.s }" * 1_000).render(LARGE)
    with pytest.raises(TaskError, match="larger than 8 MiB"):
        Template(["${ input.s }"] * 1_000).render(LARGE)
    with pytest.raises(TaskError, match="larger than 8 MiB"):
        Template({str(n): "${ input.l100 }" for n in range(100)}).render(LARGE)
    assert megabytes() - before < MEGABYTES
    assert len(Template("${ input.s }" * 8).render(LARGE)) == 8_000_000


def test_data_is_measured_no_further_than_needed() -> None:
    assert measure({"a": "xyz"}, 1_000) < 100
    assert measure(["x" * 100] * 10_000, 1_000) > 1_000
    assert not is_cheap({"a": "x" * 100_000}, mentions=100, multiplies=0, length=10)
