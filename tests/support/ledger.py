"""A record of effects that lies outside everything the tests break: an append-only file, synced line by line.

Handlers write it in the worker processes (`acceptance_handlers`); the test reads what really happened, whatever the
database says.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """One run of a handler reached a phase."""

    phase: str  # `start` or `end`
    workflow: str
    step: str
    attempt: int
    key: str  # the idempotency key
    pid: int  # of the worker


class Ledger:
    """The file, for writers and readers."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, entry: Entry) -> None:
        """Append one line; it survives whatever happens next."""
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(file, (json.dumps(asdict(entry)) + "\n").encode())  # one write: lines of processes never mix
            os.fsync(file)
        finally:
            os.close(file)

    def entries(self, step: str | None = None, phase: str | None = None) -> list[Entry]:
        """What was written so far, in order."""
        if not self.path.exists():
            return []
        entries = [Entry(**json.loads(line)) for line in self.path.read_text().splitlines()]
        return [e for e in entries if step in (None, e.step) and phase in (None, e.phase)]

    def starts(self, step: str | None = None) -> list[Entry]:
        """Runs that began."""
        return self.entries(step, "start")

    def ends(self, step: str | None = None) -> list[Entry]:
        """Runs that came to their last line."""
        return self.entries(step, "end")
