"""Workers at the edge of their memory, and with few slots: real processes, nothing lost, nothing tried twice."""

import re

import httpx
import psutil
import pytest
from support.cluster import Cluster
from support.documents import Document, flow, step
from support.eventually import eventually

from workflow_engine.embedded.places import free_port

pytestmark = pytest.mark.long

MIB = 1024 * 1024


@pytest.fixture
def cluster(cluster: Cluster) -> Cluster:
    """Its processes have the memory of those that users start."""
    cluster.cold = True
    return cluster


def many(name: str, type: str, count: int, **inputs: object) -> Document:
    return flow(name, *(step(f"s{number}", type=type, **inputs) for number in range(count)))


def test_a_worker_whose_handlers_leak_begins_again_in_place_and_loses_nothing(cluster: Cluster) -> None:
    cluster.up(workers=0)
    worker = cluster.begin_worker(WORKER_CONCURRENCY="4", WORKFLOW_MEMORY_LIMIT_BYTES=str(200 * MIB))
    worker.says("worker registered")
    began = psutil.Process(worker.pid).create_time()

    # Each takes longer than it is from one look at the memory to the next: else all could be over before it is seen.
    workflow = cluster.start(many("leaking", "leaks", 36, bytes=8 * MIB, seconds=0.3))
    assert cluster.await_end(workflow, 120) == "succeeded"

    output = worker.output
    recycles = output.count("msg=recycling")
    assert recycles >= 2, "36 x 8 MiB do not fit into 200 MiB beside a worker, nor twice"
    assert output.count("msg=memory_limit_near") >= recycles
    assert re.search(r"msg=memory_limit_near .*rss=\d+ limit=209715200 running=\d", output)
    assert worker.alive
    assert psutil.Process(worker.pid).create_time() == began, "the same process, so the container counts no restart"
    outcomes = cluster.rows(
        "select outcome, count(*) as n from workflow.attempt_history where workflow_id = %s group by 1", workflow
    )
    counts = {row["outcome"]: row["n"] for row in outcomes}
    assert counts.pop("succeeded") == 36
    assert set(counts) <= {"released"}
    assert cluster.rows("select max(tries) as most from workflow.tasks")[0]["most"] == 1
    cluster.assert_at_rest()


def test_a_worker_without_room_for_any_task_waits_and_says_so(cluster: Cluster) -> None:
    port = free_port()
    cluster.up(workers=0)
    worker = cluster.begin_worker(WORKFLOW_MEMORY_LIMIT_BYTES=str(20 * MIB), WORKER_METRICS_PORT=str(port))
    worker.says("memory_limit_too_small")
    assert "raise the memory limit" in worker.output
    assert "msg=recycling" not in worker.output, "it would only do that again and again"
    (listed,) = httpx.get(f"{cluster.url}/api/v1/workers", trust_env=False).json()
    assert (listed["status"], listed["status_reason"]) == ("draining", "memory")

    metrics = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    assert "workflow_worker_memory_limit_bytes 2.097152e+07" in metrics
    assert float(re.findall(r"^workflow_worker_memory_rss_bytes (\S+)", metrics, re.MULTILINE)[0]) > 20 * MIB
    assert 'workflow_worker_recycles_total{reason="memory"} 0.0' in metrics
    page = httpx.get(f"http://127.0.0.1:{port}/debug/memory", trust_env=False)
    assert page.headers["content-type"].startswith("text/plain")
    assert "limit=20971520" in page.text
    assert "MEMORY_PROFILER=true" in page.text


def test_the_memory_profiler_tells_where_memory_went_and_which_task_took_it(cluster: Cluster) -> None:
    port = free_port()
    cluster.up(workers=0)
    worker = cluster.begin_worker(
        MEMORY_PROFILER="true", WORKFLOW_MEMORY_PROFILE_SECONDS="1", WORKFLOW_MEMORY_PROFILE_SHARE="1",
        WORKER_METRICS_PORT=str(port),
    )  # fmt: skip
    worker.says("worker registered")
    workflow = cluster.start(many("leaking", "leaks", 1, bytes=32 * MIB))
    assert cluster.await_end(workflow) == "succeeded"
    worker.says("msg=memory_task")
    task = cluster.task(workflow, "s0")["id"]
    said = re.search(
        rf"msg=memory_task workflow_id={workflow} .*task_id={task} type=leaks attempt=1 delta=(\d+) ", worker.output
    )
    assert said
    assert int(said[1]) > 31 * MIB, "and what the books took that were looked through just then"
    line = r'msg=memory_profile .*rss=\d+ .*top="\S*acceptance_handlers.py:\d+ size=3\d{7} count=\d+, '
    eventually(lambda: re.search(line, worker.output), 60)
    page = httpx.get(f"http://127.0.0.1:{port}/debug/memory", trust_env=False, timeout=60).text
    assert re.search(r"acceptance_handlers.py:\d+ size=3\d{7} count=\d+", page)
    assert len(page.splitlines()) == 52


def test_tracing_for_a_part_of_the_time_shows_a_leak_that_goes_on(cluster: Cluster) -> None:
    port = free_port()
    cluster.up(workers=0)
    worker = cluster.begin_worker(
        MEMORY_PROFILER="true", WORKFLOW_MEMORY_PROFILE_SECONDS="1", WORKFLOW_MEMORY_PROFILE_SHARE="0.3",
        WORKER_METRICS_PORT=str(port), WORKER_CONCURRENCY="1",
    )  # fmt: skip
    worker.says("worker registered")
    # So much at a time that one or two in the traced part of a second are more than all else that is allocated then.
    workflow = cluster.start(many("leaking", "leaks", 100, bytes=MIB // 2, seconds=0.05))
    eventually(lambda: re.search(r'traced_seconds=0.3 top="\S*acceptance_handlers.py:', worker.output), 60)
    page = httpx.get(f"http://127.0.0.1:{port}/debug/memory", trust_env=False, timeout=60).text
    assert page.startswith("rss=")
    assert cluster.await_end(workflow) == "succeeded"


def test_a_worker_told_to_run_two_tasks_at_once_never_runs_a_third(cluster: Cluster) -> None:
    cluster.up(workers=1, WORKER_CONCURRENCY="2")
    workflow = cluster.start(many("sleepers", "count", 10, seconds=0.1))
    assert cluster.await_end(workflow) == "succeeded"
    (worker,) = httpx.get(f"{cluster.url}/api/v1/workers", trust_env=False).json()
    assert worker["concurrency"] == 2
    overlaps = cluster.rows(
        "select count(*) as n from workflow.attempt_history a join workflow.attempt_history b"
        " on b.started_at <= a.started_at and a.started_at < b.ended_at where a.workflow_id = %s group by a.task_id",
        workflow,
    )
    assert len(overlaps) == 10
    assert max(row["n"] for row in overlaps) == 2
