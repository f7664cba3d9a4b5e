"""While Postgres is away every route says so, soon, and says when to ask again; none breaks."""

from __future__ import annotations

import asyncio
import re
import uuid
from typing import Any

import httpx

from workflow_engine.asgi import create_app
from workflow_engine.settings import load_settings

from .conftest import engine_settings, running_engine

AWAY = "postgresql://nobody@127.0.0.1:9/none"
_DOCUMENT: dict[str, Any] = create_app(load_settings()).openapi()


def _requests() -> list[tuple[str, str, Any]]:
    """One of each operation, with the example of its body, if it has one."""
    found = []
    for path, item in _DOCUMENT["paths"].items():
        for method, operation in item.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            examples = [one["value"] for one in body.get("examples", {}).values()]
            filled = re.sub(r"\{[^}]*id\}", str(uuid.uuid4()), path)
            found.append((method.upper(), re.sub(r"\{[^}]*\}", "name", filled), body.get("example", *examples[:1])))
    return found


async def _ask_all(base_url: str) -> list[tuple[str, httpx.Response]]:
    async with httpx.AsyncClient(base_url=base_url, timeout=30, trust_env=False) as client:

        async def ask(method: str, path: str, body: Any) -> tuple[str, httpx.Response]:
            content = {} if body is None else {"json": body}
            return f"{method} {path}", await client.request(method, path, **content)

        return await asyncio.gather(*(ask(*request) for request in _requests()))


def test_without_postgres_every_route_answers_503_and_when_to_ask_again(redis_url: str) -> None:
    with running_engine(engine_settings(AWAY, redis_url)) as api:
        answers = asyncio.run(_ask_all(str(api.base_url)))

    assert len(answers) > 50
    statuses = {name: answer.status_code for name, answer in answers}
    assert {name: status for name, status in statuses.items() if status not in (200, 400, 404, 422, 503)} == {}
    unavailable = {name: answer for name, answer in answers if answer.status_code == 503}
    assert len(unavailable) > 0.7 * len(answers), statuses
    for name, answer in unavailable.items():
        if not name.endswith("/health"):
            assert answer.headers["content-type"] == "application/problem+json", name
            assert answer.json()["code"] == "unavailable", name
            assert int(answer.headers["retry-after"]) > 0, name
        assert answer.elapsed.total_seconds() < 10, name
