"""Stand-in for Agent Mesh: `GET /api/v1/agents/{name}` tells where an agent runs and what it can do.

Every name is known, so that any workflow can be tried, except names that begin with `unknown`.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from workflow_engine.embedded.standins.server import Answer, Answering, Request, problem

_AGENT = re.compile(r"/api/v1/agents/([^/]+)")


def agent_mesh(brain_url: str) -> Answering:
    """A mesh whose agents all run on the brain at `brain_url`."""

    def answer(request: Request) -> Answer:
        found = _AGENT.fullmatch(request.path)
        if request.method != "GET" or found is None:
            return problem(404, "The stand-in for Agent Mesh knows GET /api/v1/agents/{name} only")
        name = unquote(found.group(1))
        if name.startswith("unknown"):
            return problem(404, f"There is no agent {name!r}")
        return Answer({"name": name, "url": brain_url, "protocol": "brain", "skills": ["summarise"]})

    return answer
