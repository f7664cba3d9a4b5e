"""What the built-in types lack: a step that takes its time and costs nothing, and one that fails for now."""

from __future__ import annotations

import asyncio
from typing import Any

from workflow_engine import handler


@handler("bench_sleep")
async def sleep(inputs: dict[str, Any], ctx: Any) -> None:
    """Sleeps for so many seconds."""
    await asyncio.sleep(float(inputs["seconds"]))


@handler("bench_away")
async def away(inputs: dict[str, Any], ctx: Any) -> None:
    """Finds its partner away, always."""
    raise ConnectionError("partner is away")
