"""The numbers of the ScaledObjects, by the formulas of KEDA and Kubernetes. `acceptance/` has them on real servers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.autoscaler import Autoscaler

_ROOT = Path(__file__).parents[2]
_KUSTOMIZE = _ROOT / "deploy" / "kustomize"
OURS = next(yaml.safe_load_all((_KUSTOMIZE / "components" / "keda" / "scaled-object.yaml").read_text()))
_HEREDOC = re.search(r"<<EOF\n(.*?)^EOF", (_ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE | re.DOTALL)
assert _HEREDOC
OF_THE_RUNBOOK = yaml.safe_load(_HEREDOC[1])
TARGETS = {trigger["type"]: trigger["metadata"] for trigger in OURS["spec"]["triggers"]}
SLOTS = int(TARGETS["metrics-api"]["targetValue"])
LOOK_SECONDS = 15


def looked(
    scaler: Autoscaler, backlog: float | None, load: float | None, *, cpu: float = 5, start: int = 0, looks: int = 1
) -> list[int]:
    """The replicas after each of so many looks, the first of them at the time `start`."""
    sources = {"redis": backlog, "metrics-api": load, "cpu": cpu}
    values = {trigger.name: sources[trigger.type] for trigger in scaler.triggers}
    return [scaler.look(start + number * LOOK_SECONDS, values) for number in range(looks)]


def without_repetitions(numbers: Sequence[int]) -> list[int]:
    return [number for place, number in enumerate(numbers) if not place or numbers[place - 1] != number]


@pytest.mark.parametrize(
    ("backlog", "replicas", "wanted"),
    [
        (0, 2, 2),  # never fewer than the least
        (20, 2, 2),
        (21, 2, 2),  # less than a tenth more changes nothing
        (23, 2, 3),
        (100, 10, 10),
        (109, 10, 10),
        (111, 10, 12),
        (60, 2, 6),
        (1000, 18, 20),  # never more than the most
        (1_000_000, 20, 20),
    ],
)
def test_ten_pending_tasks_are_a_worker(backlog: int, replicas: int, wanted: int) -> None:
    for document in (OURS, OF_THE_RUNBOOK):
        scaler = Autoscaler(document, replicas)
        values = dict.fromkeys((trigger.name for trigger in scaler.triggers), 0.0)
        assert scaler.look(0, values | {scaler.triggers[0].name: backlog}) == wanted


def test_both_ask_for_the_same_list_and_the_same_bounds() -> None:
    (theirs,), ours = OF_THE_RUNBOOK["spec"]["triggers"], OURS["spec"]["triggers"][0]
    assert [ours["metadata"][key] for key in ("listName", "listLength")] == ["workflow:tasks:pending", "10"]
    assert [theirs["metadata"][key] for key in ("listName", "listLength")] == ["workflow:tasks:pending", "10"]
    for document in (OURS, OF_THE_RUNBOOK):
        assert document["metadata"]["name"] == "workflow-workers-scaler"
        assert document["spec"]["scaleTargetRef"]["name"] == "workflow-workers"
        assert (document["spec"]["minReplicaCount"], document["spec"]["maxReplicaCount"]) == (2, 20)


def test_a_great_backlog_has_all_workers_within_two_and_a_half_minutes() -> None:
    scaler = Autoscaler(OURS, 2)
    assert looked(scaler, 5000, 5000, looks=10) == [6, 6, 10, 10, 14, 14, 18, 18, 20, 20]


def test_workers_are_taken_away_one_by_one_after_ten_quiet_minutes() -> None:
    scaler = Autoscaler(OURS, 6)
    assert set(looked(scaler, 60, 60, looks=4)) == {6}
    numbers = looked(scaler, 0, 0, start=60, looks=100)
    assert without_repetitions(numbers) == [6, 5, 4, 3, 2]
    fell = [place * LOOK_SECONDS for place in range(1, 100) if numbers[place] < numbers[place - 1]]
    assert 570 <= fell[0] <= 600
    assert {later - sooner for sooner, later in itertools.pairwise(fell)} == {120}


def test_a_load_that_comes_and_goes_keeps_its_workers() -> None:
    scaler = Autoscaler(OURS, 8)
    numbers = [looked(scaler, backlog, 0, start=start)[0] for start in range(0, 3600, 300) for backlog in (80,)]
    between = [looked(scaler, 0, 0, start=start + 150)[0] for start in range(3600, 3900, 300)]
    assert set(numbers + between) == {8}


def test_busy_workers_stay_though_nothing_is_pending() -> None:
    assert set(looked(Autoscaler(OURS, 8), 0, 8 * SLOTS, looks=100)) == {8}
    assert looked(Autoscaler(OF_THE_RUNBOOK, 8), 0, 0, looks=100)[-1] == 2, "which the list alone does not see"


def test_handlers_that_compute_get_workers_for_their_processors() -> None:
    assert looked(Autoscaler(OURS, 4), 0, 0, cpu=100) == [6]


def test_without_engines_the_list_still_asks_for_more_and_nobody_is_taken_away() -> None:
    assert looked(Autoscaler(OURS, 4), 80, None) == [8]
    assert set(looked(Autoscaler(OURS, 8), 0, None, looks=100)) == {8}


def test_without_redis_the_load_still_asks_for_more_and_there_are_four_workers_at_least() -> None:
    assert looked(Autoscaler(OURS, 2), None, 5 * SLOTS) == [5]
    assert looked(Autoscaler(OURS, 2), None, 0, looks=5) == [2, 2, 2, 4, 4]
    assert set(looked(Autoscaler(OURS, 8), None, 0, looks=100)) == {8}


def containers(kind: str, name: str) -> list[dict[str, Any]]:
    for file in sorted((_KUSTOMIZE / "base").glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            if document and document.get("kind") == kind and document["metadata"]["name"] == name:
                return list(document["spec"]["template"]["spec"]["containers"])
    raise AssertionError(f"there is no {kind} {name}")


def test_the_load_is_compared_with_the_slots_of_a_worker() -> None:
    texts = "\n".join(file.read_text() for file in sorted((_KUSTOMIZE / "base").glob("*.yaml")))
    concurrency = re.findall(r"WORKER_CONCURRENCY:? ?\"?(?:, value: \")?(\d+)", texts)
    assert set(concurrency) <= {str(SLOTS)}, "WORKER_CONCURRENCY and targetValue are one number"
    assert concurrency or SLOTS == 50, "the default of WORKER_CONCURRENCY"


def test_workers_say_how_much_processor_they_need_as_the_cpu_trigger_counts_in_that() -> None:
    (worker,) = containers("Deployment", "workflow-workers")
    assert worker["resources"]["requests"]["cpu"]
