"""Whether Postgres was heard all the time, as far as a leader can tell."""

from __future__ import annotations

import time
from datetime import datetime

from workflow_engine.observability.logs import get_logger
from workflow_engine.settings import Settings


class Hearing:
    """While Postgres was away, stood still or took no writes, nobody could renew a lease.

    In a lease's time every worker that lives finds it again; what it ran meanwhile is then neither lost nor done
    twice. So a leader is patient for so long after it began to lead, which covers what the start time of the server
    does not (a long recovery, a standby that was promoted), and after each time in which it did not hear of Postgres.

    Attributes:
        at: When it was last heard, by its own clock; None = not yet.
    """

    def __init__(self, settings: Settings) -> None:
        self._patience_seconds = settings.lease_seconds
        self._patient_until = time.monotonic() + self._patience_seconds
        # It is looked at once in a poll at least; who looks less often cannot tell.
        self._silence_seconds = settings.grace_seconds if 2 * settings.poll_seconds <= settings.grace_seconds else None
        self._log = get_logger("maintenance")
        self.at: datetime | None = None

    @property
    def patient(self) -> bool:
        """Whether leases are still given time."""
        return time.monotonic() < self._patient_until

    def heard(self, now: datetime) -> None:
        """Postgres has answered."""
        if self._silence_seconds is None:
            return
        if self.at is not None and (silence := (now - self.at).total_seconds()) > self._silence_seconds:
            self._log.warning("postgres was not heard; leases are given time", seconds=round(silence, 1))
            self._patient_until = time.monotonic() + self._patience_seconds
        self.at = now
