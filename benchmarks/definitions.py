"""The shapes that are run: all steps are no-ops, so that only the engine costs time."""

from __future__ import annotations

from typing import Any

from workflow_engine.definition.compile import compile_definition
from workflow_engine.definition.plan import CompiledDefinition


def single() -> CompiledDefinition:
    return _compile("bench-single", [{"id": "only", "type": "noop"}])


def chain(length: int) -> CompiledDefinition:
    """Each step waits for the one before."""
    steps: list[dict[str, Any]] = [{"id": "s0", "type": "noop"}]
    steps += [{"id": f"s{n}", "type": "noop", "depends_on": [f"s{n - 1}"]} for n in range(1, length)]
    return _compile(f"bench-chain-{length}", steps)


def fan_out(width: int) -> CompiledDefinition:
    """`width` steps side by side and one that waits for all of them."""
    steps: list[dict[str, Any]] = [{"id": f"s{n}", "type": "noop"} for n in range(width)]
    steps.append({"id": "join", "type": "noop", "depends_on": [f"s{n}" for n in range(width)]})
    return _compile(f"bench-fan-out-{width}", steps)


def map_of(items: int) -> CompiledDefinition:
    """One step that is made and run once per item."""
    return _compile(f"bench-map-{items}", [{"id": "each", "type": "noop", "for_each": {"items": items}}])


def layered(layers: int, width: int, fan_in: int) -> CompiledDefinition:
    """Each step waits for `fan_in` steps of the layer before, its own neighbourhood there."""
    steps = []
    for layer in range(layers):
        for n in range(width):
            step: dict[str, Any] = {"id": f"l{layer}s{n}", "type": "noop"}
            if layer:
                step["depends_on"] = [f"l{layer - 1}s{(n + k) % width}" for k in range(fan_in)]
            steps.append(step)
    return _compile(f"bench-layered-{layers}-{width}-{fan_in}", steps)


def montage(images: int) -> CompiledDefinition:
    """A mosaic of the sky: images are projected, neighbours compared, a model corrects all, and one step joins them.

    With epigenomics and inspiral, one of the shapes by which schedulers of scientific workflows are compared (Bharathi
    et al., Characterization of Scientific Workflows, 2008).
    """
    graph: dict[str, list[str]] = {f"project{n}": [] for n in range(images)}
    pairs = [(n, n + k) for n in range(images) for k in (1, 2) if n + k < images]
    graph |= {f"diff{a}x{b}": [f"project{a}", f"project{b}"] for a, b in pairs}
    graph["concat"] = [f"diff{a}x{b}" for a, b in pairs]
    graph["model"] = ["concat"]
    graph |= {f"background{n}": ["model", f"project{n}"] for n in range(images)}
    graph["table"] = [f"background{n}" for n in range(images)]
    graph |= {"add": ["table"], "shrink": ["add"], "jpeg": ["shrink"]}
    return _graph(f"bench-montage-{images}", graph)


def epigenomics(lanes: int) -> CompiledDefinition:
    """Reads of a genome: split into lanes, each a pipeline of four steps, merged, indexed, piled up."""
    graph: dict[str, list[str]] = {"split": []}
    for n in range(lanes):
        before = "split"
        for stage in ("filter", "convert", "pack", "map"):
            graph[f"{stage}{n}"] = [before]
            before = f"{stage}{n}"
    graph |= {"merge": [f"map{n}" for n in range(lanes)], "index": ["merge"], "pileup": ["index"]}
    return _graph(f"bench-epigenomics-{lanes}", graph)


def inspiral(groups: int, width: int) -> CompiledDefinition:
    """A search for gravitational waves: two rounds of templates and matches, each ended by coincidences per group."""
    graph: dict[str, list[str]] = {}
    for g in range(groups):
        names = [f"{g}x{n}" for n in range(width)]
        graph |= {f"bank{name}": [] for name in names}
        graph |= {f"match{name}": [f"bank{name}"] for name in names}
        graph[f"coincide{g}"] = [f"match{name}" for name in names]
        graph |= {f"trigger{name}": [f"coincide{g}"] for name in names}
        graph |= {f"again{name}": [f"trigger{name}"] for name in names}
        graph[f"final{g}"] = [f"again{name}" for name in names]
    return _graph(f"bench-inspiral-{groups}-{width}", graph)


def sleeper(seconds: float) -> CompiledDefinition:
    """One step that sleeps, by the handler of `benchmarks/handlers.py`."""
    return compile_definition(
        {"name": "bench-sleeper", "steps": [{"id": "only", "type": "bench_sleep", "inputs": {"seconds": seconds}}]},
        task_types=["bench_sleep"],
    )


def elsewhere() -> CompiledDefinition:
    """One step in a queue that nobody serves."""
    return _compile("bench-elsewhere", [{"id": "only", "type": "noop", "queue": "elsewhere"}])


def unserved() -> CompiledDefinition:
    """One step, in the queue of all others, of a type that no worker has."""
    return compile_definition(
        {"name": "bench-unserved", "steps": [{"id": "only", "type": "bench_unserved"}]}, task_types=["bench_unserved"]
    )


def waiting(turn_queue: str) -> list[CompiledDefinition]:
    """Steps that wait for a time of the input, a signal, an approval; and a no-op on a queue of its own."""
    return [
        _compile("bench-timer", [{"id": "only", "type": "wait", "until": "${ input.until }"}]),
        _compile("bench-signal", [{"id": "only", "type": "signal", "inputs": {"name": "go"}}]),
        _compile("bench-approval", [{"id": "only", "type": "approval", "prompt": "Go on?"}]),
        _compile("bench-turn", [{"id": "only", "type": "noop", "queue": turn_queue}]),
    ]


def _compile(name: str, steps: list[dict[str, Any]]) -> CompiledDefinition:
    return compile_definition({"name": name, "steps": steps})


def _graph(name: str, graph: dict[str, list[str]]) -> CompiledDefinition:
    return _compile(name, [{"id": step, "type": "noop", "depends_on": before} for step, before in graph.items()])
