"""Redis without its memory, dead, or silent. Nothing is decided by it, so only what it shows is missing for a while."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import psutil
import redis.asyncio
from redis.exceptions import RedisError

from chaos.faults.fault import Fault, Finding
from chaos.world import World

_LIST = "workflow:tasks:pending:nobody"
_MIRROR_BOUND = 5.0
_MIRROR_SECONDS = 30.0


async def flush(world: World) -> Finding:
    """FLUSHALL: the mirror is written anew."""
    async with _connect(world) as server:
        if not await world.find(lambda: _is_whole(world, server), _MIRROR_SECONDS):
            return Finding(wrong=["the mirror was not whole before"])
        keys = await server.dbsize()
        began = time.time()
        await server.flushall()
        emptied = await server.llen(_LIST) < len(world.standing)
        finding = Finding(f"{keys} keys were flushed" if emptied else "")
        await _await_whole(world, server, began, finding)
    return finding


async def kill(world: World) -> Finding:
    """kill -9, and three seconds later an empty one in its place."""
    pid = world.cluster.redis.pid
    if pid is None:
        return Finding()
    world.cluster.keep_down("redis")
    try:
        os.kill(pid, signal.SIGKILL)
        await world.gone(pid)
        await asyncio.sleep(3)
    finally:
        world.cluster.let_up("redis")
    finding = Finding(f"redis (pid {pid}) was killed")
    async with _connect(world) as server:
        await world.find(lambda: _answers(server), 20)
        await _await_whole(world, server, time.time(), finding)
    return finding


async def halt(world: World) -> Finding:
    """It hangs, and does not refuse."""
    pid = world.cluster.redis.pid
    if pid is None:
        return Finding()
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(4)
        halted = psutil.Process(pid).status() == psutil.STATUS_STOPPED
    finally:
        os.kill(pid, signal.SIGCONT)
    began = time.time()
    finding = Finding(f"redis (pid {pid}) was halted for 4 s" if halted else "")
    async with _connect(world) as server:
        await server.delete(_LIST)  # so that what is found is new
        await _await_whole(world, server, began, finding)
    return finding


async def delete_list(world: World) -> Finding:
    """Somebody pops from the list and puts nonsense into it."""
    async with _connect(world) as server:
        if not await world.find(lambda: _is_whole(world, server), _MIRROR_SECONDS):
            return Finding(wrong=["the mirror was not whole before"])
        began = time.time()
        await server.lpop(_LIST, 5)
        await server.rpush(_LIST, "nonsense")
        finding = Finding("5 ids were taken from a list and nonsense was put in")
        await _await_whole(world, server, began, finding)
    return finding


def _connect(world: World) -> redis.asyncio.Redis:
    return redis.asyncio.Redis(port=world.cluster.redis.port, socket_timeout=5, decode_responses=True)


async def _answers(server: redis.asyncio.Redis) -> bool:
    try:
        return bool(await server.ping())
    except (RedisError, OSError):
        return False


async def _is_whole(world: World, server: redis.asyncio.Redis) -> bool:
    try:
        listed = sorted(await server.lrange(_LIST, 0, -1)) == world.standing
        return listed and bool(await server.exists(f"workflow:lock:{world.holding}"))
    except (RedisError, OSError):
        return False


# Whole: the list of what nobody runs, and the key of the lock that one workflow keeps.
async def _await_whole(world: World, server: redis.asyncio.Redis, began: float, finding: Finding) -> None:
    if await world.find(lambda: _is_whole(world, server), _MIRROR_SECONDS):
        finding.recoveries = [time.time() - began]
    else:
        finding.wrong.append(f"the mirror was not whole within {_MIRROR_SECONDS:g} s")
    if not await world.holds_lock():
        finding.wrong.append("a lock was released because its key was gone")


FAULTS = (
    Fault("redis: FLUSHALL", flush, bound=_MIRROR_BOUND),
    Fault("redis: kill -9 for 3 s", kill, bound=_MIRROR_BOUND),
    Fault("redis: SIGSTOP", halt, bound=_MIRROR_BOUND),
    Fault("redis: a list spoilt", delete_list, bound=_MIRROR_BOUND),
)
