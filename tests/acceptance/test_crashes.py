"""Workers that die or hang at the worst moments: every success is recorded once, and nothing accepted is lost.

WORKFLOW_TEST_SEED chooses which workers are killed at random, and when.
"""

import os
import random
import re
import signal
from pathlib import Path

import httpx
import pytest
from support.cluster import LEASE_SECONDS, TAKEOVER_SECONDS, Cluster
from support.documents import answer, chain, fan, flow, step
from support.eventually import eventually

from workflow_engine.embedded.places import free_port

SEED = int(os.environ.get("WORKFLOW_TEST_SEED", "20261124"))

TURN_WAITS = """
    select pid from pg_stat_activity
    where datname = current_database() and application_name = 'workflow-engine worker' and wait_event_type = 'Lock'"""


def test_a_worker_killed_between_handler_and_commit_leaves_its_task_to_another(cluster: Cluster) -> None:
    cluster.up()
    workflow = cluster.start(flow("killed", step("a", type="signals-itself", signal="SIGKILL"), step("b", "a")))
    eventually(lambda: cluster.ledger.ends("a"))
    survivor = cluster.worker()

    assert cluster.await_end(workflow, TAKEOVER_SECONDS) == "succeeded"
    assert cluster.output(workflow) == {"b": {"n": 2}}
    assert cluster.outcomes(workflow, "a") == ["lost", "succeeded"]
    assert cluster.outcomes(workflow, "b") == ["succeeded"]
    first, second = cluster.ledger.starts("a")
    assert first.key == second.key
    assert second.pid == survivor.pid
    cluster.assert_at_rest()


@pytest.mark.parametrize("commits", [True, False], ids=["which then happens", "which then does not happen"])
def test_a_worker_killed_inside_the_commit_leaves_one_success(cluster: Cluster, tmp_path: Path, commits: bool) -> None:
    (victim,) = cluster.up()
    gate = tmp_path / "gate"
    workflow = cluster.start(flow("killed", step("a", type="gated", gate=str(gate)), step("b", "a")))
    eventually(lambda: cluster.ledger.starts("a"))
    with cluster.connect() as holder:
        holder.execute("select 1 from workflow.workflows where id = %s for update", [workflow])
        gate.touch()
        waiting = eventually(lambda: cluster.rows(TURN_WAITS), message="the turn never waited for the row")
        victim.kill()
        if not commits:
            holder.execute("select pg_terminate_backend(%s)", [waiting[0]["pid"]])
            eventually(lambda: not cluster.rows(TURN_WAITS))
    cluster.worker()

    assert cluster.await_end(workflow, TAKEOVER_SECONDS) == "succeeded"
    assert cluster.output(workflow) == {"b": {"n": 2}}
    assert len(cluster.ledger.starts("a")) == (1 if commits else 2)
    assert cluster.outcomes(workflow, "a") == (["succeeded"] if commits else ["lost", "succeeded"])
    # The turn of the dead worker may have claimed the successor in the same commit; nobody ever ran that claim.
    assert cluster.outcomes(workflow, "b") == (["lost", "succeeded"] if commits else ["succeeded"])
    assert len(cluster.ledger.starts("b")) == 1
    cluster.assert_at_rest()


def test_a_worker_killed_after_the_commit_does_not_cause_a_second_run(cluster: Cluster, tmp_path: Path) -> None:
    (victim,) = cluster.up()
    gate = tmp_path / "gate"
    workflow = cluster.start(flow("killed", step("a"), step("b", "a", type="gated", gate=str(gate))))
    eventually(lambda: cluster.ledger.starts("b"))  # it was claimed in the commit that completed the first
    victim.kill()
    gate.touch()
    cluster.worker()

    assert cluster.await_end(workflow, TAKEOVER_SECONDS) == "succeeded"
    assert len(cluster.ledger.starts("a")) == 1
    assert cluster.outcomes(workflow, "a") == ["succeeded"]
    assert cluster.outcomes(workflow, "b") == ["lost", "succeeded"]
    cluster.assert_at_rest()


def test_the_late_result_of_a_stopped_worker_is_refused_and_counted(cluster: Cluster) -> None:
    port = free_port()
    (sleeper,) = cluster.up(WORKER_METRICS_PORT=str(port))
    workflow = cluster.start(flow("stopped", step("a", type="signals-itself", signal="SIGSTOP"), step("b", "a")))
    eventually(lambda: sleeper.stopped)
    cluster.worker()
    assert cluster.await_end(workflow, TAKEOVER_SECONDS) == "succeeded"
    before = cluster.rows("select * from workflow.attempts order by task_id, attempt")

    sleeper.send(signal.SIGCONT)
    sleeper.says("stale result refused")
    assert stale_results(port) == 1
    assert cluster.outcomes(workflow, "a") == ["lost", "succeeded"]
    assert cluster.rows("select * from workflow.attempts order by task_id, attempt") == before
    first, second = cluster.ledger.starts("a")
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.key == second.key
    assert first.pid != second.pid
    cluster.assert_at_rest()

    # It goes on as a worker: alone, it does the next workflow.
    cluster.processes[-1].kill()
    assert cluster.await_end(cluster.start(chain(3)), TAKEOVER_SECONDS) == "succeeded"
    assert {entry.pid for entry in cluster.ledger.starts("s2")} == {sleeper.pid}


def test_handlers_that_compute_for_two_leases_keep_their_own(cluster: Cluster) -> None:
    cluster.up()
    # Together in one process: a thread that competes for the interpreter lock, and an event loop that never turns.
    seconds = 2 * LEASE_SECONDS
    thread = step("in_thread", type="burns-in-a-thread", seconds=seconds)
    loop = step("on_loop", type="burns-on-the-loop", seconds=seconds)
    workflow = cluster.start(flow("busy", thread, loop))
    eventually(lambda: cluster.ledger.starts("on_loop"))
    cluster.worker()  # idle: it would take them over at once

    assert cluster.await_end(workflow) == "succeeded"
    for name in ("in_thread", "on_loop"):
        assert len(cluster.ledger.starts(name)) == 1
        assert cluster.outcomes(workflow, name) == ["succeeded"]


def test_a_stopping_worker_hands_its_task_over_at_once_and_without_spending_a_try(
    cluster: Cluster, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    (leaver,) = cluster.up(WORKER_SHUTDOWN_TIMEOUT="0.5")
    workflow = cluster.start(flow("handed-over", step("a", type="gated", gate=str(gate))))
    eventually(lambda: cluster.ledger.starts("a"))
    successor = cluster.worker()

    leaver.send(signal.SIGTERM)
    assert leaver.wait(10) == 0
    eventually(lambda: len(cluster.ledger.starts("a")) == 2, 5)
    handed_over = cluster.rows(
        "select extract(epoch from n.started_at - r.ended_at)::float as seconds from workflow.attempts r"
        " join workflow.attempts n on n.task_id = r.task_id and n.attempt = r.attempt + 1 where r.outcome = 'released'"
    )
    assert handed_over[0]["seconds"] < 2
    task = cluster.task(workflow, "a")
    assert (task["status"], task["attempt"], task["tries"], task["crashes"]) == ("running", 2, 0, 0)
    gate.touch()
    assert cluster.await_end(workflow) == "succeeded"
    assert cluster.outcomes(workflow, "a") == ["released", "succeeded"]
    assert cluster.ledger.starts("a")[1].pid == successor.pid
    cluster.assert_at_rest()


def test_a_second_sigterm_ends_the_grace_time(cluster: Cluster, tmp_path: Path) -> None:
    (worker,) = cluster.up(WORKER_SHUTDOWN_TIMEOUT="300")
    workflow = cluster.start(flow("twice", step("a", type="gated", gate=str(tmp_path / "never"))))
    eventually(lambda: cluster.ledger.starts("a"))
    worker.send(signal.SIGTERM)
    worker.says("draining")
    assert worker.alive
    worker.send(signal.SIGTERM)
    assert worker.wait(10) == 0
    assert cluster.outcomes(workflow, "a") == ["released"]
    assert cluster.task(workflow, "a")["tries"] == 0


def test_workers_killed_at_random_lose_no_workflow_and_record_no_success_twice(cluster: Cluster) -> None:
    kills, concurrency = 8, 10
    chance = random.Random(SEED)
    # Chance may hit one task often; that is not what is tested.
    workers = cluster.up(workers=3, WORKER_CONCURRENCY=str(concurrency), WORKFLOW_MAX_CRASHES="1000")
    documents = [chain(10, seconds=0.02)] * 120 + [fan(50, seconds=0.02)] * 20
    chance.shuffle(documents)
    workflows = cluster.start_many(documents)
    steps = sum(len(document["steps"]) for document in documents)

    for number in range(1, kills + 1):
        victim = chance.randrange(len(workers))
        due = number * steps // (kills + 2) + chance.randrange(steps // 20)
        await_recorded(cluster, due)
        workers[victim].kill()
        workers[victim] = cluster.begin_worker(WORKER_CONCURRENCY=str(concurrency))
    assert recorded(cluster) < steps, "the load ended before the last kill"
    for worker in workers:
        worker.says("worker registered")

    ended = cluster.await_ends(workflows, 120)
    assert set(ended) == set(workflows)
    assert set(ended.values()) == {"succeeded"}
    for workflow, document in zip(workflows, documents, strict=True):
        assert cluster.output(workflow) == answer(document)
    assert recorded(cluster) == steps
    lost = cluster.rows("select count(*) as n from workflow.attempts where outcome = 'lost'")[0]["n"]
    assert lost > 0, "no kill hit a running task"
    assert lost <= kills * concurrency
    # Every further run of a handler is explained by a claim that was lost.
    assert steps <= len(cluster.ledger.starts()) <= steps + lost
    cluster.assert_at_rest()


def await_recorded(cluster: Cluster, count: int) -> None:
    eventually(lambda: recorded(cluster) >= count, 60)


def recorded(cluster: Cluster) -> int:
    return int(cluster.rows("select count(*) as n from workflow.attempt_history where outcome = 'succeeded'")[0]["n"])


def stale_results(port: int) -> float:
    """What the worker's /metrics says."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    found = re.search(r"^workflow_stale_results_total (\S+)$", text, re.MULTILINE)
    assert found, text
    return float(found[1])
