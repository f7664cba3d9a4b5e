"""What really happened at the target: a file outside of everything that is broken, synced before the target answers."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Phase = Literal["call", "effect"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One call of the target, or the effect that it had."""

    at: float  # seconds since the epoch
    phase: Phase
    workflow: str
    effect: str  # its name within the workflow: what must happen once, whatever key is sent with it
    key: str  # the Idempotency-Key
    amount: int


class Ledger:
    """The file, for its one writer. What `write` has returned from survives a kill -9."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lock = threading.Lock()

    def write(self, entry: Entry) -> None:
        with self._lock:
            os.write(self._file, (json.dumps(asdict(entry)) + "\n").encode())
            os.fsync(self._file)


def read(path: Path) -> list[Entry]:
    """All that was written, in order."""
    if not path.exists():
        return []
    return [Entry(**json.loads(line)) for line in path.read_text().splitlines()]
