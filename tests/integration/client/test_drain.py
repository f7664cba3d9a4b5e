"""`workflow-engine drain`: what it waits for, what it says, and how it ends."""

import signal
from pathlib import Path

from support.cluster import Cluster
from support.documents import flow, step
from support.eventually import eventually
from support.processes import EngineProcess, run_engine

from workflow_engine.embedded.places import free_port


def start_running(cluster: Cluster, gate: Path) -> str:
    workflow = cluster.start(flow("gated", step("a", type="gated", gate=str(gate)), step("b", "a")))
    eventually(lambda: cluster.status(workflow) == "running")
    return workflow


def begin_drain(cluster: Cluster, log: Path, *options: str) -> EngineProcess:
    return EngineProcess("drain", "--server", cluster.url, *options, env=cluster.env, log=log)


def is_paused(cluster: Cluster) -> bool:
    return bool(cluster.rows("select workflow.is_paused() as paused")[0]["paused"])


def test_it_pauses_waits_for_what_runs_and_leaves_what_is_pending(cluster: Cluster, tmp_path: Path) -> None:
    workflow = start_running(cluster, tmp_path / "gate")
    drain = begin_drain(cluster, tmp_path / "drain.log")
    drain.says("1 workflow is running")
    assert is_paused(cluster)
    (tmp_path / "gate").touch()
    assert drain.wait(30) == 0
    assert cluster.status(workflow) == "succeeded"
    assert (
        f"Drained: no workflow runs. The engine is paused; to accept workflows again: curl -X POST {cluster.url}"
        in (drain.output)
    )
    assert is_paused(cluster), "resuming is the operator's matter"
    answer = cluster.request("POST", "/api/v1/workflows", json=flow("refused", step("a")))
    assert answer.status_code == 503


def test_after_the_timeout_it_tells_what_still_runs_and_ends_with_124(cluster: Cluster, tmp_path: Path) -> None:
    workflow = start_running(cluster, tmp_path / "gate")
    drain = begin_drain(cluster, tmp_path / "drain.log", "--timeout", "1500ms")
    assert drain.wait(30) == 124
    assert "After 1500ms 1 workflow is still running:" in drain.output
    assert f"{workflow}  gated" in drain.output
    assert "    a: " in drain.output, "why it still runs"
    assert "    b: " not in drain.output, "b only waits for a"
    assert "The engine is paused" in drain.output
    (tmp_path / "gate").touch()


def test_without_pause_it_leaves_the_intake_open(cluster: Cluster, tmp_path: Path) -> None:
    drain = begin_drain(cluster, tmp_path / "drain.log", "--no-pause")
    assert drain.wait(30) == 0
    assert "Drained: no workflow runs. The engine is not paused." in drain.output
    assert not is_paused(cluster)


def test_an_engine_that_is_down_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    server = f"http://127.0.0.1:{free_port()}"
    answer = run_engine("drain", "--server", server)
    assert answer.returncode == 3
    assert server in answer.stderr
    assert "Check --server or WORKFLOW_SERVER" in answer.stderr
    assert run_engine("drain", "--server", server, "--no-pause").returncode == 3
    assert run_engine("drain", WORKFLOW_SERVER=server).returncode == 3


def test_a_restart_of_the_engine_in_between_is_waited_for(cluster: Cluster, tmp_path: Path) -> None:
    workflow = start_running(cluster, tmp_path / "gate")
    drain = begin_drain(cluster, tmp_path / "drain.log")
    drain.says("1 workflow is running")
    cluster.engine.kill()
    drain.says("trying again")
    cluster.begin_engine(PORT=cluster.url.rpartition(":")[2])
    (tmp_path / "gate").touch()
    assert drain.wait(30) == 0
    assert cluster.status(workflow) == "succeeded"


def test_ctrl_c_says_whether_the_engine_is_paused(cluster: Cluster, tmp_path: Path) -> None:
    start_running(cluster, tmp_path / "gate")
    drain = begin_drain(cluster, tmp_path / "drain.log")
    drain.says("1 workflow is running")
    drain.send(signal.SIGINT)
    assert drain.wait(10) == 130
    assert "Interrupted. The engine is paused; to accept workflows again: curl" in drain.output
    assert "Traceback" not in drain.output
    (tmp_path / "gate").touch()


def test_a_timeout_that_is_no_duration_is_a_wrong_command_line() -> None:
    answer = run_engine("drain", "--timeout", "soon")
    assert answer.returncode == 2
    assert "500ms, 30s" in answer.stderr
