"""One connection to the HTTP API of an engine."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from workflow_engine.errors import ServerRefused, ServerUnreachable

_API = "/api/v1"
_CONNECT_SECONDS = 5.0
_UNAVAILABLE = frozenset({502, 503, 504})  # a proxy without its engine, or an engine without its database, which says:
_WITHOUT_DATABASE = "unavailable"


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """An event of a stream: its place, what it is called (`message`: nothing), and what it says."""

    id: int
    name: str
    data: Any


class Client:
    """Asks one engine, or whatever balances between several. Use it as a context manager.

    Args:
        server: Base URL, such as `http://localhost:3003`; the `/api/v1` after it may be left out.
        token: A key of the engine (`wfk_...`); empty: none.
        timeout: Seconds an answer may take.

    Raises:
        ServerUnreachable: From every request, when nobody answers, or somebody who says that the engine cannot.
        ServerRefused: From every request, when the engine answers with any other error.
    """

    def __init__(self, server: str, *, token: str = "", timeout: float = 30.0) -> None:
        self.server = server.rstrip("/").removesuffix(_API)
        # Proxies of the environment are for the world outside; an engine is in the same network, as its probes are.
        self._http = httpx.Client(
            timeout=httpx.Timeout(timeout, connect=_CONNECT_SECONDS),
            headers={"Authorization": f"Bearer {token}"} if token else None,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **query: str) -> Any:
        """The JSON at a path below `/api/v1`."""
        return self._json("GET", path, query)

    def post(self, path: str, body: Any = None, **query: str) -> Any:
        """Post a body, or none, and return the JSON of the answer."""
        return self._json("POST", path, query, body)

    def lines(self, path: str, **query: str) -> Generator[str, None, None]:
        """The lines of a text at a path, as they come; an answer that goes on for long may be left at any time."""
        with self._answers(path), self._http.stream("GET", self.url(path), params=query) as answer:
            if answer.is_error:
                answer.read()
                raise self._refusal(answer)
            yield from answer.iter_lines()

    def events(self, path: str, *, after: int = 0) -> Generator[ServerEvent | None, None, None]:
        """Server-sent events at a path, from after one on; None: nothing has happened, but the server is there."""
        told: dict[str, str] = {}
        with closing(self.lines(path, after=str(after))) as lines:
            for line in lines:
                name, _, value = line.partition(": ")
                if line:
                    told[name] = value
                    continue
                whole = None  # what was told before this line is, only now
                if "data" in told:
                    data = json.loads(told["data"])
                    whole = ServerEvent(int(told.get("id", 0)), told.get("event", "message"), data)
                yield whole
                told = {}

    def url(self, path: str) -> str:
        """The whole URL of a path; also good for a `curl` that is shown to people."""
        return f"{self.server}{_API}{path}"

    def _json(self, method: str, path: str, query: dict[str, str], body: Any = None) -> Any:
        with self._answers(path):
            answer = self._http.request(
                method, self.url(path), params=query, **({} if body is None else {"json": body})
            )
            if answer.is_error:
                raise self._refusal(answer)
            try:
                return answer.json()
            except ValueError as error:
                raise ServerRefused(
                    answer.status_code,
                    f"{self.server} answers, but not as an engine does",
                    hint="Check --server or WORKFLOW_SERVER.",
                ) from error

    @contextmanager
    def _answers(self, path: str) -> Generator[None, None, None]:
        try:
            yield
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ServerUnreachable(
                f"No answer from {self.url(path)}: {error or type(error).__name__}",
                hint="Check --server or WORKFLOW_SERVER, and that an engine runs there.",
            ) from error

    def _refusal(self, answer: httpx.Response) -> ServerRefused | ServerUnreachable:
        """The error of an answer: in the words of its problem, when it is one."""
        try:
            problem = answer.json()
        except ValueError:
            problem = None
        if not isinstance(problem, dict):
            problem = {}
        detail = str(problem.get("detail") or f"{self.server} answered with {answer.status_code}")
        hint = str(problem["hint"]) if problem.get("hint") else None
        if answer.status_code in _UNAVAILABLE and problem.get("code", _WITHOUT_DATABASE) == _WITHOUT_DATABASE:
            return ServerUnreachable(detail, hint=hint)
        return ServerRefused(answer.status_code, detail, hint=hint)
