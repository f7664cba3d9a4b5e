"""Stand-in for a model behind the OpenAI-compatible endpoints `POST /v1/chat/completions` and `GET /v1/models`.

It says what it was asked, which is enough to see a prompt arrive; the same request gets the same answer.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from workflow_engine.embedded.standins.agent_brain import count_tokens
from workflow_engine.embedded.standins.server import Answer, Request, problem

MODEL = "stand-in"


def llm(request: Request) -> Answer:
    if (request.method, request.path) == ("GET", "/v1/models"):
        return Answer({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "workflow-engine"}]})
    if (request.method, request.path) != ("POST", "/v1/chat/completions"):
        return problem(404, "The stand-in for a model knows POST /v1/chat/completions and GET /v1/models only")
    messages = request.body.get("messages") if isinstance(request.body, dict) else None
    if not isinstance(messages, list) or not messages:
        return problem(422, "messages must be a list that is not empty")
    wants_json = (request.body.get("response_format") or {}).get("type") in {"json_object", "json_schema"}
    return _complete(request.body.get("model") or MODEL, messages, wants_json=wants_json)


def _complete(model: str, messages: list[Any], *, wants_json: bool) -> Answer:
    asked = _text(messages[-1])
    reply = f"A stand-in model was asked: {asked}"
    if wants_json:
        reply = json.dumps({"answer": reply})
    prompt_tokens = sum(count_tokens(_text(message)) for message in messages)
    completion_tokens = count_tokens(reply)
    digest = hashlib.sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()
    return Answer(
        {
            "id": f"chatcmpl-{digest[:24]}",
            "object": "chat.completion",
            "created": 0,  # repeatable
            "model": model,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
            },
        }
    )


def _text(message: Any) -> str:
    """The text of a message, whose content is a text or a list of parts."""
    content = message.get("content") if isinstance(message, dict) else message
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content)
