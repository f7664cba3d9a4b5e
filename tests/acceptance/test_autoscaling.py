"""KEDA's decisions about real workers: it reads the real list and the real engine, and what it wants is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.autoscaler import Autoscaler
from support.documents import chain, flow, step
from support.eventually import eventually
from support.stack import Stack

pytestmark = pytest.mark.long

SCALED_OBJECT = Path(__file__).parents[2] / "deploy" / "kustomize" / "components" / "keda" / "scaled-object.yaml"
SLOTS = 10  # of each worker, so that a few processes show what many would
LOOK_SECONDS = 15
# What KEDA asks: one script, for whatever kind of key it is.
LENGTH = """
local kind = redis.call('type', KEYS[1]).ok
if kind == 'none' then return 0 end
return redis.call(kind == 'list' and 'llen' or 'zcard', KEYS[1])
"""


class Scaling:
    """The autoscaler on its own clock, between the triggers' real sources and the real workers."""

    def __init__(self, stack: Stack) -> None:
        document: dict[str, Any] = next(yaml.safe_load_all(SCALED_OBJECT.read_text()))
        backlog, load, _ = document["spec"]["triggers"]
        self._list = backlog["metadata"]["listName"]
        self._path = load["metadata"]["url"].partition(":3003")[2]
        self._value = load["metadata"]["valueLocation"]
        load["metadata"]["targetValue"] = str(SLOTS)
        self._stack = stack
        self._now = 0.0
        self._scaler = Autoscaler(document, 2)

    def read(self) -> dict[str, float]:
        with self._stack.redis() as redis:
            backlog = redis.eval(LENGTH, 1, self._list)
        load = self._stack.request("GET", self._path).raise_for_status().json()[self._value]
        return {"backlog": float(backlog), "load": float(load), "cpu-2": 5.0}

    def await_values(self, is_so: Callable[[float, float], bool]) -> None:
        """Wait until the length of the list and the load are such."""
        eventually(lambda: is_so(*(self.read()[name] for name in ("backlog", "load"))), 20)

    def looks(self, count: int) -> Iterator[int]:
        """Look so many times; the replicas after each look at which they were changed, when they run."""
        for _ in range(count):
            before = self._scaler.replicas
            replicas = self._scaler.look(self._now, self.read())
            self._now += LOOK_SECONDS
            if replicas != before:
                self._scale(replicas)
                yield replicas

    def _scale(self, replicas: int) -> None:
        self._stack.ask("scale", name="workflow-workers", replicas=replicas)
        eventually(lambda: len(self._stack.get("/workers")) == replicas, 60)


@pytest.mark.timeout(300)
def test_workers_follow_the_load_as_the_scaled_object_says_and_nothing_is_lost_or_spent_by_it(tmp_path: Path) -> None:
    first, last = tmp_path / "first", tmp_path / "last"
    with Stack(engines=1, WORKER_CONCURRENCY=str(SLOTS), WORKER_SHUTDOWN_TIMEOUT="1") as stack:
        scaling = Scaling(stack)
        # Two workers have 20 slots for 60 tasks.
        held = stack.start_many(
            [flow("held", step("a", type="gated", gate=str(gate))) for gate in [first] * 36 + [last] * 24]
        )
        scaling.await_values(lambda backlog, load: (backlog, load) == (40, 60))
        assert list(scaling.looks(4)) == [6]
        # Six have a slot for each. The list is empty, and no worker idle.
        scaling.await_values(lambda backlog, load: (backlog, load) == (0, 60))
        assert list(scaling.looks(80)) == []

        with stack.load([chain(2)], "beside") as beside:
            beside.await_accepted(1)
            first.touch()
            scaling.await_values(lambda backlog, load: backlog < 5 and 24 <= load < 29)
            # One by one they are told to stop, in the middle of tasks that do not end in time.
            assert list(scaling.looks(80)) == [5, 4, 3]
            last.touch()
            assert set(stack.await_ends(held).values()) == {"succeeded"}
        beside.assert_all_succeeded(stack)
        assert list(scaling.looks(80)) == [2]

        outcomes = stack.rows("select outcome, count(*) as n from workflow.attempts group by 1")
        counted = {row["outcome"]: row["n"] for row in outcomes}
        assert counted.keys() == {"succeeded", "released"}, counted
        spent = stack.rows("select tries, crashes from workflow.task_list where (tries, crashes) <> (1, 0)")
        assert spent == [], "being handed back is no try"
        ends = [entry.workflow for entry in stack.ledger.ends("a") if entry.workflow in set(held)]
        assert sorted(ends) == sorted(held)
        stack.assert_at_rest()
