"""One engine leads; another takes over within 15 seconds of its death or of its hanging, with the usual settings."""

from __future__ import annotations

import re
import signal

import httpx
import pytest
from support.cluster import Cluster
from support.eventually import eventually
from support.processes import EngineProcess

REPLACED_SECONDS = 15.0
USUAL = {"WORKFLOW_SWEEP_SECONDS": "5", "WORKFLOW_LEASE_SECONDS": "30", "WORKFLOW_HEARTBEAT_SECONDS": "10"}


def engine(cluster: Cluster) -> tuple[EngineProcess, str]:
    """One more engine process and its URL."""
    cluster.up(workers=0, **USUAL)
    return cluster.processes[-1], cluster.url


def leads(url: str) -> bool:
    text = httpx.get(f"{url}/metrics", timeout=5, trust_env=False).text
    found = re.search(r"^workflow_engine_leader (\S+)$", text, re.MULTILINE)
    assert found
    return float(found[1]) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hanging"])
def test_a_leader_is_replaced_within_15_seconds(cluster: Cluster, number: signal.Signals) -> None:
    first, first_url = engine(cluster)
    first.says("msg=leading")
    second, second_url = engine(cluster)
    assert leads(first_url)
    assert not leads(second_url)

    first.send(number)
    second.says("msg=leading", REPLACED_SECONDS)

    assert leads(second_url)
    if number == signal.SIGSTOP:
        first.send(signal.SIGCONT)
        first.says("maintenance interrupted")
        eventually(lambda: not leads(first_url))
        assert leads(second_url)
    epochs = cluster.rows("select last_value from workflow.leader_epoch")
    assert epochs == [{"last_value": 2}]


def test_workflows_are_counted_once_by_two_engines_that_lead_one_after_the_other(cluster: Cluster) -> None:
    first, first_url = engine(cluster)
    first.says("msg=leading")
    second, second_url = engine(cluster)
    body = {"name": "counted", "steps": [{"id": "a", "type": "noop"}]}
    with httpx.Client(timeout=30, trust_env=False, verify=False) as http:

        def work(url: str) -> None:
            for _ in range(5):
                workflow = http.post(f"{url}/api/v1/workflows", json=body).json()["id"]
                assert http.post(f"{url}/api/v1/workflows/{workflow}/cancel").is_success

        def counted(url: str) -> tuple[float, float]:
            """How many workflows an engine has counted as started, and as cancelled."""
            text = http.get(f"{url}/metrics").text
            started = re.findall(r"^workflow_workflows_started_total{.*} (\S+)$", text, re.MULTILINE)
            ended = re.findall(r'^workflow_workflows_ended_total{.*state="cancelled"} (\S+)$', text, re.MULTILINE)
            return sum(map(float, started)), sum(map(float, ended))

        work(first_url)
        eventually(lambda: counted(first_url) == (5, 5), 60)
        first.send(signal.SIGSTOP)
        work(second_url)
        second.says("msg=leading", REPLACED_SECONDS)
        work(second_url)
        first.send(signal.SIGCONT)
        first.says("maintenance interrupted")
        work(first_url)
        # Those of the time without a leader are among them.
        eventually(lambda: counted(second_url) == (15, 15), 60)
        assert counted(first_url) == (5, 5)
