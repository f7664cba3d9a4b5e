"""A process with DBOS, run by `peers.py` in an environment of its own: `dbos_program.py URL NAME SHAPE SIZE COUNT`.

Starts its workflows itself, without a queue, which is the fastest way DBOS has: no polling, no hand-over. Says `ready`,
waits for a line, runs COUNT workflows, at most 100 at a time, and says as JSON when it began and ended (`time.time()`).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from dbos import DBOS

_AT_ONCE = 100


@DBOS.step()
async def noop(number: int) -> None:
    pass


@DBOS.workflow()
async def chain(length: int) -> None:
    for number in range(length):
        await noop(number)


@DBOS.workflow()
async def fan_out(width: int) -> None:
    await asyncio.gather(*(noop(number) for number in range(width)))
    await noop(width)


async def _run(shape: str, size: int, count: int) -> None:
    workflow = {"chain": chain, "fan_out": fan_out}[shape]
    places = asyncio.Semaphore(_AT_ONCE)

    async def one() -> None:
        async with places:
            handle = await DBOS.start_workflow_async(workflow, size)
            await handle.get_result()

    await asyncio.gather(*(one() for _ in range(3)))  # connections are open, code is warm
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    begin = time.time()
    await asyncio.gather(*(one() for _ in range(count)))
    print(json.dumps({"first": begin, "last": time.time()}), flush=True)


if __name__ == "__main__":
    _, url, name, shape, size, count = sys.argv
    DBOS(
        config={
            "name": "bench",
            "system_database_url": url,
            "executor_id": name,
            "application_version": "bench",
            "sys_db_pool_size": 20,
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    asyncio.run(_run(shape, int(size), int(count)))
    DBOS.destroy()
