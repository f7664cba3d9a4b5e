"""What users of an engine do, over HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import httpx

from support.documents import Document


class Users:
    """Starts workflows at `url`, the base URL of an engine."""

    def __init__(self, url: str = "") -> None:
        self.url = url
        self._http = httpx.Client(timeout=20, trust_env=False)

    def start(self, document: Document) -> str:
        """Start a workflow; returns its id."""
        answer = self.request("POST", "/api/v1/workflows", json=document)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def try_start(self, documents: Sequence[Document], key: str) -> list[str] | None:
        """Start several; None when the engine is away or says that Postgres is: try again with the same key."""
        try:
            answer = self.request(
                "POST", "/api/v1/workflows/batch", json=list(documents), headers={"Idempotency-Key": key}
            )
        except httpx.TransportError:
            return None
        if answer.status_code == 503:
            assert "Retry-After" in answer.headers
            return None
        assert answer.status_code == 202, answer.text
        return [started["id"] for started in answer.json()]

    def start_many(self, documents: Sequence[Document]) -> list[str]:
        started = self.try_start(documents, key=uuid.uuid4().hex)
        assert started is not None
        return started

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._http.request(method, f"{self.url}{path}", **options)

    def close_users(self) -> None:
        self._http.close()
