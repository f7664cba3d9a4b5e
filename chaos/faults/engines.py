"""Engines that are killed, stopped and halted, one that leads or another; and an operator's pause."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import psutil

from chaos.cluster import Process
from chaos.faults.fault import Fault, Finding
from chaos.world import World

_LEAD_SECONDS = 30.0


async def kill_leader(world: World) -> Finding:
    """kill -9 of the engine that leads: another leads."""
    leader = await world.find(world.leader, 20)
    if leader is None or leader.pid is None:
        return Finding()
    pid, epoch = leader.pid, await _epoch(world)
    began = time.time()
    os.kill(pid, signal.SIGKILL)
    await world.gone(pid)
    finding = Finding(f"{leader.name} (pid {pid}) was killed while it led")
    if await world.find(lambda: _led_anew(world, epoch), _LEAD_SECONDS):
        finding.recoveries = [time.time() - began]
    else:
        finding.wrong.append(f"nobody led again within {_LEAD_SECONDS:g} s")
    return finding


async def kill_any(world: World) -> Finding:
    """kill -9 of one engine, whichever: requests in flight have no answer, and are repeated."""
    engine = world.chance.choice(world.cluster.engines)
    if (pid := engine.pid) is None:
        return Finding()
    began = time.time()
    os.kill(pid, signal.SIGKILL)
    await world.gone(pid)
    return await _served_again(world, engine, began, Finding(f"{engine.name} (pid {pid}) was killed"))


async def terminate(world: World) -> Finding:
    """SIGTERM of one engine under load: it answers what it has taken, and leaves with 0."""
    engine = world.chance.choice(world.cluster.engines)
    if (pid := engine.pid) is None:
        return Finding()
    world.cluster.keep_down(engine.name)
    try:
        began = time.time()
        os.kill(pid, signal.SIGTERM)
        code = await world.exit_code(engine, 40)
    finally:
        world.cluster.let_up(engine.name)
    finding = Finding(
        f"{engine.name} (pid {pid}) was told to stop, and left in {time.time() - began:.1f} s"
        if code is not None
        else ""
    )
    if code != 0:
        finding.wrong.append(f"{engine.name} left with {code} after SIGTERM")
    return await _served_again(world, engine, began, finding)


async def halt_leader(world: World) -> Finding:
    """SIGSTOP of the engine that leads for longer than its lead lasts: another leads, and it finds out."""
    leader = await world.find(world.leader, 20)
    if leader is None or leader.pid is None:
        return Finding()
    pid, epoch = leader.pid, await _epoch(world)
    began = time.time()
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(0.1)
        halted = psutil.Process(pid).status() == psutil.STATUS_STOPPED
        led = await world.find(lambda: _led_anew(world, epoch), _LEAD_SECONDS)
        took = time.time() - began
    finally:
        os.kill(pid, signal.SIGCONT)
    finding = Finding(f"{leader.name} (pid {pid}) was halted while it led" if halted else "")
    if led:
        finding.recoveries = [took]
    else:
        finding.wrong.append(f"nobody led again within {_LEAD_SECONDS:g} s")
    return finding


async def pause(world: World) -> Finding:
    """An operator pauses everything: starts are refused for a while, and nothing is lost."""
    until = time.monotonic() + 30
    paused, _ = await world.client.insist("POST", "/api/v1/pause", until=until)
    refused = await world.find(lambda: _refuses(world), 5)
    await asyncio.sleep(2)
    resumed, _ = await world.client.insist("POST", "/api/v1/resume", until=time.monotonic() + 60)
    finding = Finding("the engine was paused and refused a start" if paused and refused else "")
    if resumed is None or not resumed.accepted:
        finding.wrong.append("the engine could not be resumed")
    return finding


async def _epoch(world: World) -> int:
    return int(await world.value("select last_value from workflow.leader_epoch"))


async def _led_anew(world: World, epoch: int) -> bool:
    return await _epoch(world) > epoch


async def _refuses(world: World) -> bool:
    document = {"name": "chaos-while-paused", "steps": [{"id": "a", "type": "noop"}], "labels": {"case": "paused"}}
    answer = await world.client.call("POST", "/api/v1/workflows", json=document)
    return answer is not None and answer.status == 503


async def _served_again(world: World, engine: Process, began: float, finding: Finding) -> Finding:
    port = world.cluster.engine_ports[world.cluster.engines.index(engine)]
    if await world.find(lambda: world.is_ready(port), 60):
        finding.recoveries = [time.time() - began]
    else:
        finding.wrong.append(f"{engine.name} was not ready again within 60 s")
    return finding


FAULTS = (
    Fault("leader: kill -9", kill_leader),
    Fault("engine: kill -9", kill_any),
    Fault("engine: SIGTERM", terminate),
    Fault("leader: SIGSTOP", halt_leader),
    Fault("engine: pause and resume", pause),
)
