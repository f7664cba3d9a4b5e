"""Workers that are killed, stopped, halted, and taken down by what they run."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import psutil

from chaos.cluster import GRACE_SECONDS, LEASE_SECONDS, SWEEP_SECONDS
from chaos.faults.fault import Fault, Finding
from chaos.world import Held, World

_TAKEOVER_SECONDS = 30.0  # nobody waits longer for a figure
_KILL_BOUND = LEASE_SECONDS + SWEEP_SECONDS + 2
_HAND_OVER_BOUND = 2.0


async def kill(world: World) -> Finding:
    """kill -9: others take over when the leases have run out."""
    busy = await world.busy_worker()
    if busy is None:
        return Finding()
    began = time.time()
    os.kill(busy.pid, signal.SIGKILL)
    await world.gone(busy.pid)
    return await _after_death(world, busy, began)


async def _after_death(world: World, busy: Held, began: float) -> Finding:
    await asyncio.sleep(0.1)  # what it had sent last is committed by then
    tasks, attempts = await world.held_by(busy.worker)
    if not tasks:
        return Finding()
    found = await world.taken_over(tasks, attempts, _TAKEOVER_SECONDS)
    finding = Finding(f"{busy.process.name} (pid {busy.pid}) was killed while it ran {len(tasks)} tasks")
    finding.recoveries = [each.again_at - began for each in found if each.again_at and each.outcome == "lost"]
    finding.wrong = [
        f"task {each.task} was not taken over within {_TAKEOVER_SECONDS:g} s"
        for each in found
        if not each.again_at and not each.over
    ]
    return finding


async def terminate(world: World) -> Finding:
    """SIGTERM: what does not end within the grace time is handed over at once, and the worker leaves with 0."""
    busy = await world.busy_worker()
    if busy is None:
        return Finding()
    name = busy.process.name
    world.cluster.keep_down(name)
    try:
        tasks, attempts = await world.held_by(busy.worker)
        began = time.time()
        os.kill(busy.pid, signal.SIGTERM)
        code = await world.exit_code(busy.process, 20)
        finding = Finding(f"{name} (pid {busy.pid}) was told to stop while it ran {len(tasks)} tasks")
        if code != 0:
            finding.wrong.append(f"{name} left with {code} after SIGTERM")
        found = await world.taken_over(tasks, attempts, GRACE_SECONDS + 5)
        handed_over = [each for each in found if each.outcome == "released"]
        finding.recoveries = [each.again_at - began for each in handed_over if each.again_at]
        if not handed_over and not finding.wrong:
            return Finding()  # all of it was done within the grace time
        finding.proof += f"; {len(handed_over)} of them were handed over"
    finally:
        world.cluster.let_up(name)
    return finding


async def halt_past_lease(world: World) -> Finding:
    """SIGSTOP until others have taken over, then SIGCONT: what it still says is stale."""
    busy = await world.busy_worker()
    if busy is None:
        return Finding()
    began = time.time()
    os.kill(busy.pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(0.1)
        halted = psutil.Process(busy.pid).status() == psutil.STATUS_STOPPED
        tasks, attempts = await world.held_by(busy.worker)
        found = await world.taken_over(tasks, attempts, LEASE_SECONDS + SWEEP_SECONDS + 5)
    finally:
        os.kill(busy.pid, signal.SIGCONT)
    lost = [each for each in found if each.outcome == "lost"]
    if not halted or not lost:
        return Finding()
    await asyncio.sleep(1)  # it wakes up, says what it has to say, and is not believed
    port = world.cluster.worker_ports[world.cluster.workers.index(busy.process)]
    stale = await world.metric(port, "workflow_stale_results_total")
    finding = Finding(
        f"{busy.process.name} was halted, lost {len(lost)} leases; {stale or 0:g} results of it were stale"
    )
    finding.recoveries = [each.again_at - began for each in lost if each.again_at]
    return finding


async def halt_briefly(world: World) -> Finding:
    """SIGSTOP for less than a lease: nobody takes over."""
    busy = await world.busy_worker()
    if busy is None:
        return Finding()
    os.kill(busy.pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(LEASE_SECONDS / 3)
        halted = psutil.Process(busy.pid).status() == psutil.STATUS_STOPPED
    finally:
        os.kill(busy.pid, signal.SIGCONT)
    await asyncio.sleep(1)
    found = await world.next_attempts(busy.tasks, busy.attempts)
    lost = sum(each.outcome == "lost" for each in found)
    finding = Finding(
        f"{busy.process.name} was halted for {LEASE_SECONDS / 3:g} s with {len(busy.tasks)} tasks" if halted else ""
    )
    if lost:
        finding.wrong.append(f"{lost} leases were lost though they had not run out")
    return finding


async def kill_all(world: World) -> Finding:
    """kill -9 of all workers at once."""
    killed = []
    running = {held.pid: held for held in await world.held()}
    for worker in world.cluster.workers:
        if (pid := worker.pid) is not None:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
    began = time.time()
    for pid in killed:
        await world.gone(pid)
    recovery = await world.first_success(began + 0.2, _TAKEOVER_SECONDS)
    held = sum(len(running[pid].tasks) for pid in killed if pid in running)
    finding = Finding(f"{len(killed)} workers were killed while they ran {held} tasks" if killed else "")
    if recovery is not None:
        finding.recoveries = [recovery]
    else:
        finding.wrong.append("no step succeeded after that")
    return finding


async def poison(world: World) -> Finding:
    """A task that takes down each worker that runs it: it fails by itself after three, and others do not."""
    how = world.chance.choice(["exit", "segfault", "kill"])
    document = world.driver.cases.poison(how)
    workflow = await world.driver.start(document, f"poison-{time.time_ns()}")

    async def ended() -> dict[str, object] | None:
        found = await world.rows(
            "select w.status, t.crashes, t.error ->> 'type' as error from workflow.workflows w"
            " join workflow.tasks t on t.workflow_id = w.id where w.id = %s and w.finished_at is not null",
            workflow,
        )
        return found[0] if found else None

    end = await world.find(ended, 60)
    if end is None:
        return Finding(f"poison ({how})", wrong=["a poisoned workflow did not end in 60 s"])
    finding = Finding(
        f"{end['crashes']} claims of a task that takes its worker down ({how}) were lost; it failed as {end['error']}"
    )
    if (end["status"], end["error"]) != ("failed", "worker_lost"):
        finding.wrong.append(f"a poisoned workflow {end['status']} with {end['error']}")
    return finding


FAULTS = (
    Fault("worker: kill -9", kill, bound=_KILL_BOUND, times=3),
    Fault("worker: SIGTERM", terminate, bound=_HAND_OVER_BOUND, times=2),
    Fault("worker: SIGSTOP past its lease", halt_past_lease, bound=_KILL_BOUND),
    Fault("worker: SIGSTOP within its lease", halt_briefly),
    Fault("workers: kill -9 of all", kill_all),
    Fault("worker: poison", poison),
)
