"""Handlers that are careless with what they are given, in every way we know of."""

from __future__ import annotations

import base64
from typing import Any

from workflow_engine import TaskError, handler
from workflow_engine.handlers.base import Outcome, TaskContext


@handler("careless", retries=1)
async def careless(inputs: dict[str, Any], ctx: TaskContext) -> Any:
    """Logs the secret, then gives it back or fails with it; the second try fails for good."""
    secret = inputs["secret"]
    ctx.log.info(f"using {secret}", header=f"Bearer {secret}", nested={"a": [secret]}, error=ValueError(secret))
    if not inputs.get("fails"):
        encoded = base64.b64encode(f"me:{secret}".encode()).decode()
        return Outcome({"raw": secret, "basic": encoded, secret: 1}, record={"raw": secret})
    if ctx.attempt == 1:
        raise ValueError(f"refused: {secret!r}")
    raise TaskError("user.refused", "x" * 3990 + secret, retryable=False, details={"sent": [secret]})


@handler("careless-thread", retries=0)
def careless_thread(inputs: dict[str, Any], ctx: TaskContext) -> Any:
    """Fails with an exception that has a cause, and logs its traceback."""
    try:
        raise KeyError(inputs["secret"])
    except KeyError as error:
        ctx.log.exception("lost")
        raise RuntimeError(f"no {inputs['secret']}") from error
