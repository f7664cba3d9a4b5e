"""Scaling by hand: rows G01 and G02. Autoscalers need a cluster (see `rows`)."""

import os
import signal
import time
from contextlib import suppress

import httpx
import psutil
from support.documents import chain, fan
from support.eventually import eventually
from support.runbook import COMMANDS
from support.stack import Stack


def test_g01_ten_workers_share_the_work_and_do_nothing_twice(stack: Stack) -> None:
    stack.shell(COMMANDS["Scale workers for more parallel tasks"])
    stack.shell("kubectl rollout status deployment/workflow-workers -n agents")
    assert len(stack.curl(COMMANDS["Check worker status"])) == 10
    workflows = stack.start_many([fan(100, seconds=0.05)] * 6)  # more than five workers have slots for
    assert set(stack.await_ends(workflows).values()) == {"succeeded"}
    done = [entry for entry in stack.ledger.starts() if entry.workflow in set(workflows)]
    assert len(done) == len({(entry.workflow, entry.step) for entry in done}) == 6 * 102
    assert len({entry.pid for entry in done}) >= 5, "most of them had something to do"


def test_g02_three_engines_are_one_and_a_killed_leader_is_replaced(stack: Stack) -> None:
    stack.shell(COMMANDS["Scale engine for more workflow coordination"])
    stack.shell("kubectl rollout status deployment/workflow-engine -n agents")
    assert len(stack.engine_urls) == 3
    for url in stack.engine_urls:
        document = chain(3)
        started = httpx.post(f"{url}/api/v1/workflows?wait=30s", json=document, timeout=60, trust_env=False)
        assert started.json()["status"] == "succeeded", started.text

    leader = eventually(lambda: leading(stack), 15)
    os.kill(leader, signal.SIGKILL)
    killed = time.monotonic()
    successor = eventually(lambda: pid if (pid := leading(stack)) != leader else 0, 15)
    assert time.monotonic() - killed < 15
    assert successor in stack.pids("engines")


def leading(stack: Stack) -> int:
    """The process whose connection holds the leader's lock; 0 while nobody does."""
    found = stack.rows(
        "select a.client_port from pg_locks l join pg_stat_activity a on a.pid = l.pid"
        " where l.locktype = 'advisory' and l.granted and a.application_name = 'workflow-engine leader'"
    )
    assert len(found) <= 1, "two leaders"
    for pid in stack.pids("engines") if found else []:
        with suppress(psutil.NoSuchProcess):  # it is the one that was killed
            connections = psutil.Process(pid).net_connections("tcp")
            if found[0]["client_port"] in {connection.laddr.port for connection in connections if connection.laddr}:
                return pid
    return 0
