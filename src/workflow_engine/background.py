"""Background tasks of a process are ended for certain, and within bounds."""

from __future__ import annotations

import asyncio
from typing import Any

_AGAIN_SECONDS = 1.0


async def end_tasks(*tasks: asyncio.Task[Any], within: float = 5.0) -> bool:
    """Cancel tasks and wait until they have ended.

    Once is not enough. A cancellation that arrives just as a connection comes free is lost in the pool, and one that a
    connection to a silent Postgres gets makes it ask that server to cancel the statement, and wait for the answer.

    Args:
        tasks: What they returned or raised is nobody's business any more.
        within: Seconds after which those that still run are left alone.

    Returns:
        Whether all have ended.
    """
    until = asyncio.get_running_loop().time() + within
    while still := [task for task in tasks if not task.done()]:
        left = until - asyncio.get_running_loop().time()
        if left <= 0:
            return False
        for task in still:
            task.cancel()
        await asyncio.wait(still, timeout=min(left, _AGAIN_SECONDS))
    for task in tasks:
        if not task.cancelled():
            task.exception()  # or asyncio would complain that nobody asked
    return True
