"""The stand-in for a model, on a port of its own, as slow as it is told."""

from __future__ import annotations

import threading

from workflow_engine.embedded.standins.llm import llm
from workflow_engine.embedded.standins.server import Answer, Request, start_server


class SlowModel:
    """Serves until closed.

    Attributes:
        seconds: How long each answer takes; may be changed at any time.
        url: For WORKFLOW_LLM_BASE_URL.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._closed = threading.Event()
        self._server = start_server("slow-model", 0, self._answer)
        # Its readers give up, which is what it is for: neither that nor its requests are worth a word.
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign, assignment]
        self._server.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self) -> None:
        self._closed.set()  # nobody waits for an answer any more
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: Request) -> Answer:
        self._closed.wait(self.seconds)
        return llm(request)
