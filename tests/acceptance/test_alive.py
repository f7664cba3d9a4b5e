"""The health check of a container, run as a container runs it, beside real processes."""

import signal

from support.cluster import Cluster
from support.eventually import eventually
from support.processes import run_engine

from workflow_engine.embedded.places import free_port


def test_the_health_check_finds_an_engine_and_a_worker_and_sees_when_one_of_them_hangs(cluster: Cluster) -> None:
    port = free_port()
    (worker,) = cluster.up(WORKER_METRICS_PORT=str(port))
    engine_port = cluster.url.rpartition(":")[2]
    ports = {"HOST": "0.0.0.0", "PORT": engine_port, "WORKER_METRICS_PORT": str(port)}

    found = run_engine("alive", **ports)
    assert (found.returncode, found.stdout.splitlines()) == (
        0,
        [f"engine on port {engine_port}: alive", f"worker on port {port}: alive"],
    )

    worker.send(signal.SIGSTOP)
    eventually(lambda: worker.stopped)
    hung = run_engine("alive", **{**ports, "PORT": "1"})
    assert hung.returncode == 1
    assert hung.stdout == f"worker on port {port}: no answer: timed out\n"
    worker.send(signal.SIGCONT)

    worker.kill()
    alone = run_engine("alive", **ports)
    assert (alone.returncode, alone.stdout) == (0, f"engine on port {engine_port}: alive\n")


def test_where_nobody_listens_nobody_is_alive() -> None:
    nobody = run_engine("alive", PORT=str(free_port()), WORKER_METRICS_PORT="0")

    assert nobody.returncode == 1
    assert nobody.stdout.startswith("Nobody listens on port ")
