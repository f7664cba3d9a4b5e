"""A local server that answers any request with what it was asked: for `--mock-http` and the demo's first step.

`X-Original-URL`, when sent, is echoed as the URL: that is how a request that was meant for elsewhere arrives here.
"""

from __future__ import annotations

from workflow_engine.embedded.standins.server import Answer, Request

ORIGINAL_URL = "x-original-url"


def echo(request: Request) -> Answer:
    return Answer(
        {
            "echo": True,
            "method": request.method,
            "url": request.headers.get(ORIGINAL_URL, request.path),
            "query": dict(request.query),
            "body": request.body,
        }
    )
