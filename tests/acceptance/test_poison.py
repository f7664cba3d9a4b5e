"""A task that ends the process it runs in takes no other task down with it for good."""

from pathlib import Path

from support.cluster import Cluster
from support.documents import flow, step
from support.eventually import eventually
from support.processes import is_alive

NEIGHBOURS = 6  # more than the processes that run alone at a time


def test_poison_fails_alone_and_its_neighbours_succeed(cluster: Cluster, tmp_path: Path) -> None:
    crash, finish = tmp_path / "crash", tmp_path / "finish"
    (victim,) = cluster.up(WORKFLOW_MAX_CRASHES="2")
    neighbour = flow("neighbour", step("a", type="gated", gate=str(finish)), step("b", "a"))
    poison, *neighbours = cluster.start_many(
        [flow("poison", step("a", type="ends-its-process", gate=str(crash))), *[neighbour] * NEIGHBOURS]
    )
    eventually(lambda: len(cluster.ledger.starts("a")) == NEIGHBOURS + 1)
    crash.touch()
    assert victim.wait(10) == 3
    finish.touch()
    survivor = cluster.worker(WORKFLOW_MAX_CRASHES="2")

    ended = cluster.await_ends([poison, *neighbours])
    assert ended == {poison: "failed", **dict.fromkeys(neighbours, "succeeded")}
    assert survivor.alive
    assert cluster.outcomes(poison, "a") == ["lost", "lost"]
    error = cluster.task(poison, "a")["error"]
    assert error["type"] == "worker_lost"
    assert error["details"]["exit_code"] == 3
    assert error["details"]["lost_claims"] == 2
    for neighbour in neighbours:
        assert cluster.output(neighbour) == {"b": {"n": 2}}
        outcomes = [outcome for outcome in cluster.outcomes(neighbour, "a") if outcome != "released"]
        assert outcomes == ["lost", "succeeded"]
    # Each ran in a process of its own, and none of them was the worker's.
    again = {entry.pid for entry in cluster.ledger.starts("a")[NEIGHBOURS + 1 :]}
    assert len(again) == NEIGHBOURS + 1
    assert survivor.pid not in again
    cluster.assert_at_rest()


def test_a_suspect_stops_when_it_is_cancelled_and_ends_with_its_worker_which_is_not_its_fault(
    cluster: Cluster, tmp_path: Path
) -> None:
    (victim,) = cluster.up(WORKFLOW_MAX_CRASHES="2")
    workflow = cluster.start(flow("slow", step("a", type="gated", gate=str(tmp_path / "never"))))
    eventually(lambda: cluster.ledger.starts("a"))
    victim.kill()
    worker = cluster.worker(WORKFLOW_MAX_CRASHES="2")
    suspect = eventually(lambda: cluster.ledger.starts("a")[1:], 20)[0]
    assert suspect.pid != worker.pid
    assert cluster.request("POST", f"/api/v1/workflows/{workflow}/cancel").status_code in (200, 202)
    eventually(lambda: not is_alive(suspect.pid), 5)

    gate = tmp_path / "gate"
    workflow = cluster.start(flow("slow", step("a", type="gated", gate=str(gate))))
    eventually(lambda: len(cluster.ledger.starts("a")) == 3)
    worker.kill()
    worker = cluster.worker(WORKFLOW_MAX_CRASHES="2")
    suspect = eventually(lambda: cluster.ledger.starts("a")[3:], 20)[0]
    worker.kill()
    eventually(lambda: not is_alive(suspect.pid), 5)
    gate.touch()
    cluster.worker(WORKFLOW_MAX_CRASHES="2")
    assert cluster.await_end(workflow) == "succeeded"
    assert cluster.outcomes(workflow, "a") == ["lost", "lost", "succeeded"]
    cluster.assert_at_rest()
