"""The target of the effects: applies each idempotency key once, writes the ledger, and behaves as badly as asked to.

`POST /` with `{"workflow", "effect", "amount", "mode"}` and an `Idempotency-Key`. The mode says how the call is
answered; what it says of failures counts per key, so that a try after them succeeds:

    {"slow": 1.5}     after so many seconds
    {"flaky": 2}      two calls are answered 503 and have no effect
    {"after": 1}      one call has its effect and is answered 503 all the same
    {"hang": 1}       one call is not answered for longer than anybody waits
    {"broken": 0}     every call is answered 500
    {"huge": 0}       with more than an output may have
"""

from __future__ import annotations

import argparse
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from chaos.ledger import Entry, Ledger
from workflow_engine.embedded.standins.server import Answer, Request, problem, start_server

HANG_SECONDS = 20.0
HUGE_BYTES = 2 * 1024 * 1024


class Target:
    """Answers calls, from many threads at once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._calls: Counter[str] = Counter()
        self._applied: set[str] = set()
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Answer:
        key, body = request.headers.get("idempotency-key", ""), request.body
        if request.method != "POST" or not key or not isinstance(body, dict):
            return problem(400, "POST an object, with an Idempotency-Key")
        mode: dict[str, Any] = body.get("mode") or {}
        with self._lock:
            self._calls[key] += 1
            call = self._calls[key]
        self._note("call", key, body)
        refusal = self._refusal(mode, call)
        if refusal is not None:
            return refusal
        with self._lock:
            applied = key not in self._applied
            if applied:
                self._applied.add(key)
                self._note("effect", key, body)  # within the lock: nobody is told of an effect that is not written yet
        if call <= mode.get("after", 0):
            return problem(503, "It is done, but nobody shall know")
        answered: dict[str, Any] = {"amount": body["amount"]}
        if "huge" in mode:
            answered["filler"] = "x" * HUGE_BYTES
        return Answer(answered)

    def _refusal(self, mode: dict[str, Any], call: int) -> Answer | None:
        if "broken" in mode:
            return problem(500, "As asked for")
        if call <= mode.get("flaky", 0):
            return problem(503, "Not yet")
        if call <= mode.get("hang", 0):
            time.sleep(HANG_SECONDS)
            return problem(504, "Too late")
        time.sleep(mode.get("slow", 0))
        return None

    def _note(self, phase: Any, key: str, body: dict[str, Any]) -> None:
        entry = Entry(time.time(), phase, body["workflow"], body["effect"], key, body["amount"])
        self._ledger.write(entry)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)  # ends pause(), below, without a traceback
    start_server("chaos-target", given.port, Target(Ledger(given.ledger)).answer)
    signal.pause()


if __name__ == "__main__":
    main()
