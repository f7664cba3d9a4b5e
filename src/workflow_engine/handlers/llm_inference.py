"""`llm_inference`: asks a model behind an OpenAI-compatible chat endpoint, by plain HTTP."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import httpx
import orjson
from pydantic import Field, model_validator

from workflow_engine.errors import TaskError
from workflow_engine.handlers.base import Handle, TaskContext
from workflow_engine.handlers.http_client import Reply, as_header, build_request, exchange, response_invalid
from workflow_engine.handlers.inputs import Inputs, invalid, parse_inputs
from workflow_engine.observability import genai_names as genai
from workflow_engine.observability.metrics import count_tokens
from workflow_engine.observability.span_names import SERVER_ADDRESS, SERVER_PORT
from workflow_engine.observability.tracing import Notes, span
from workflow_engine.settings import Settings

_OWN_PARAMS = frozenset({"model", "messages", "tools", "response_format", "stream"})


class LlmInputs(Inputs):
    model: str | None = None
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = Field(default=None, min_length=1)
    system: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    tools: list[dict[str, Any]] | None = None
    response_schema: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_question(self) -> LlmInputs:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either `prompt` or `messages`")
        if own := _OWN_PARAMS & self.params.keys():
            raise ValueError(f"`params` cannot set {', '.join(sorted(own))}")
        return self


def llm_inference_handler(settings: Settings, http: httpx.AsyncClient) -> Handle:
    """The handler of `llm_inference`."""
    if settings.llm_model:
        count_tokens(settings.llm_model, 0, 0)  # from the start, so that its first answer is an increase

    async def handle(inputs: dict[str, Any], ctx: TaskContext) -> dict[str, Any]:
        wanted = parse_inputs(LlmInputs, inputs)
        if not settings.llm_base_url:
            raise invalid("No model endpoint is configured: set WORKFLOW_LLM_BASE_URL.")
        headers = {"Idempotency-Key": as_header(ctx.idempotency_key)}
        if settings.llm_api_key:
            ctx.conceal(settings.llm_api_key)
            headers["Authorization"] = f"Bearer {settings.llm_api_key}"
        url = f"{settings.llm_base_url.rstrip('/')}/chat/completions"
        question = _question(wanted, settings.llm_model)
        request = build_request(http, "POST", url, headers=headers, json=question)
        with _chat(question["model"], request.url) as notes:
            reply = await exchange(http, request, max_bytes=settings.max_payload_bytes, trusted=True)
            reply.require_success()
            answer = _answer(reply)
            notes.note(_facts(answer))
        # Also when what follows finds fault with it: the tokens are spent.
        ctx.usage.add(**answer["usage"])
        count_tokens(question["model"], answer["usage"]["input_tokens"], answer["usage"]["output_tokens"])
        if wanted.response_schema is not None and not answer["tool_calls"]:
            answer["json"] = _parsed(answer["text"])
        return answer

    return handle


def _chat(model: str, url: httpx.URL) -> AbstractContextManager[Notes]:
    asked = {
        genai.OPERATION: genai.CHAT,
        genai.PROVIDER: genai.OPENAI,
        genai.REQUEST_MODEL: model,
        SERVER_ADDRESS: url.host,
        SERVER_PORT: url.port,
    }
    return span(f"{genai.CHAT} {model}", asked)


def _facts(answer: dict[str, Any]) -> dict[str, Any]:
    """What a span says of an answer: no word of it."""
    reason = answer["finish_reason"]
    return {
        genai.RESPONSE_MODEL: answer["model"] if isinstance(answer["model"], str) else None,
        genai.FINISH_REASONS: [reason] if isinstance(reason, str) else None,
        genai.INPUT_TOKENS: answer["usage"]["input_tokens"],
        genai.OUTPUT_TOKENS: answer["usage"]["output_tokens"],
    }


def _question(wanted: LlmInputs, default_model: str) -> dict[str, Any]:
    model = wanted.model or default_model
    if not model:
        raise invalid("No model: name one in `model`, or set WORKFLOW_LLM_MODEL.")
    messages = wanted.messages or [{"role": "user", "content": wanted.prompt}]
    if wanted.system is not None:
        messages = [{"role": "system", "content": wanted.system}, *messages]
    question = {**wanted.params, "model": model, "messages": messages}
    if wanted.tools is not None:
        question["tools"] = wanted.tools
    if wanted.response_schema is not None:
        schema = {"name": "response", "schema": wanted.response_schema, "strict": True}
        question["response_format"] = {"type": "json_schema", "json_schema": schema}
    return question


def _answer(reply: Reply) -> dict[str, Any]:
    body = reply.json()
    try:
        choice = body["choices"][0]
        message = choice["message"]
        text = message.get("content")
        tool_calls = message.get("tool_calls") or []
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise response_invalid(reply.request, "is not a chat completion") from error
    return {
        "text": text,
        "json": None,
        "tool_calls": tool_calls,
        "finish_reason": choice.get("finish_reason"),
        "model": body.get("model"),
        "usage": _usage(body.get("usage")),
    }


def _parsed(text: Any) -> Any:
    try:
        return orjson.loads(text)
    except (orjson.JSONDecodeError, TypeError) as error:
        # Models differ from one answer to the next, so another attempt may do better.
        raise TaskError(
            "output_invalid", f"The model's answer is not JSON, as `response_schema` asks: {error}"
        ) from error


def _usage(usage: Any) -> dict[str, Any]:
    counts = usage if isinstance(usage, dict) else {}
    return {
        "input_tokens": _number(counts.get("prompt_tokens")),
        "output_tokens": _number(counts.get("completion_tokens")),
        "cost_usd": _number(counts.get("cost")),  # told by some gateways only; we keep no price list
    }


def _number(told: Any) -> Any:
    return told if isinstance(told, int | float) and not isinstance(told, bool) and 0 <= told < 1e12 else None
