"""A process with stock procrastinate: its App, its connector, its Worker. Started by `stock.py`.

Says `ready`, waits for a line, works until the queue is empty, and says as JSON how many jobs it ran and when its
first and last one did (`time.time()`).
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from benchmarks.stock import make_app


async def _work(database_url: str, concurrency: int, delete: Any) -> None:
    ran: list[float] = []
    app = make_app(database_url, ran)
    async with app.open_async():
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await app.run_worker_async(concurrency=concurrency, wait=False, delete_jobs=delete)
    print(json.dumps({"jobs": len(ran), "first": min(ran, default=None), "last": max(ran, default=None)}))


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
