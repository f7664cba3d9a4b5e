"""Stand-in for Agent Brain: `POST /api/v1/agents/{name}/execute` "thinks" about its input.

The answer depends on the input alone: a summary of its shape, and a digest that shows whether two runs got the same.
Asked again with the same `Idempotency-Key`, it repeats its first answer, as the real one should.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import OrderedDict
from typing import Any
from urllib.parse import unquote

from workflow_engine.embedded.standins.server import Answer, Answering, Request, problem

_EXECUTE = re.compile(r"/api/v1/agents/([^/]+)/execute")
_REMEMBERED = 10_000  # answers; the oldest are forgotten


def agent_brain() -> Answering:
    answers: OrderedDict[str, Answer] = OrderedDict()
    lock = threading.Lock()

    def answer(request: Request) -> Answer:
        found = _EXECUTE.fullmatch(request.path)
        if request.method != "POST" or found is None:
            return problem(404, "The stand-in for Agent Brain knows POST /api/v1/agents/{name}/execute only")
        if not isinstance(request.body, dict):
            return problem(422, "The body must be a JSON object")
        result = _think(unquote(found.group(1)), request.body)
        key = request.headers.get("idempotency-key")
        if key is None:
            return result
        with lock:
            first = answers.setdefault(key, result)
            while len(answers) > _REMEMBERED:
                answers.popitem(last=False)
        return first

    return answer


def _think(agent: str, body: dict[str, Any]) -> Answer:
    text = json.dumps(body.get("input"), sort_keys=True)
    output = {
        "agent": agent,
        "goal": body.get("goal"),
        "summary": f"{agent} (a stand-in) read {describe(body.get('input'))}",
        "digest": hashlib.sha256(text.encode()).hexdigest()[:12],
    }
    usage = {"input_tokens": count_tokens(text), "output_tokens": count_tokens(json.dumps(output))}
    return Answer({"output": output, "usage": usage})


def describe(value: Any) -> str:
    """One phrase on the shape of a JSON value: `an object with 2 fields (body, status)`."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        names = ", ".join(sorted(value)[:5])
        return f"an object with {len(value)} field{'' if len(value) == 1 else 's'} ({names})"
    if isinstance(value, list):
        return f"a list of {len(value)} item{'' if len(value) == 1 else 's'}"
    if isinstance(value, str):
        return f"a text of {len(value)} characters"
    return f"the value {json.dumps(value)}"


def count_tokens(text: str) -> int:
    """A repeatable guess: four characters to a token."""
    return max(1, len(text) // 4)
