"""What one attempt's handler logs through `ctx.log`, kept to be stored with the attempt's end.

Bounded: the oldest lines give way. Lost when the worker dies, as the attempt's result is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

import orjson

from workflow_engine.handlers.output import storable_text

MAX_LINES = 200
MAX_BYTES = 64 * 1024
_LONGEST_VALUE = 4000  # characters
_LARGEST_INTEGER = 2**53
# Known of the attempt anyway, or of no use later.
_LEFT_OUT = frozenset(
    {"event", "level", "time", "role", "module", "workflow_id", "task_id", "step", "type", "attempt", "worker"}
    | {"trace_id", "span_id"}
)


class TaskLog:
    """The lines of one attempt. For any thread: sync handlers have their own."""

    __slots__ = ("_bytes", "_dropped", "_guard", "_lines")

    def __init__(self) -> None:
        self._lines: deque[tuple[int, dict[str, Any]]] = deque()
        self._bytes = 0
        self._dropped = 0
        self._guard = threading.Lock()

    def add(self, record: Mapping[str, Any]) -> None:
        """Keep a record as it is about to be rendered: with `event`, `level`, `time` and the fields."""
        line = {
            "time": record["time"],
            "level": record["level"],
            "message": storable_text(record.get("event", ""), _LONGEST_VALUE),
            "fields": {
                storable_text(name, 200): _storable(value)
                for name, value in record.items()
                if name not in _LEFT_OUT and value is not None
            },
        }
        size = len(orjson.dumps(line))
        if size > MAX_BYTES // 2:
            line["fields"] = {"left_out": f"{size} bytes of fields"}
            size = len(orjson.dumps(line))
        with self._guard:
            self._lines.append((size, line))
            self._bytes += size
            while len(self._lines) > MAX_LINES or self._bytes > MAX_BYTES:
                dropped, _ = self._lines.popleft()
                self._bytes -= dropped
                self._dropped += 1

    def lines(self) -> list[dict[str, Any]] | None:
        """What was kept, oldest first, with a word on what was not; None when nothing was logged."""
        with self._guard:
            if not self._lines:
                return None
            kept = [line for _, line in self._lines]
        if self._dropped:
            note = {"message": f"{self._dropped} earlier lines were not kept", "level": "warning", "fields": {}}
            kept.insert(0, {"time": kept[0]["time"], **note})
        return kept


def _storable(value: Any) -> Any:
    if isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) < _LARGEST_INTEGER:
        return value
    return storable_text(value, _LONGEST_VALUE)
