"""How many requests a second one caller may send to one engine process."""

from __future__ import annotations

import time

from workflow_engine.api.remembered import Remembered

_CALLERS = 10_000  # that are remembered; who was forgotten has all its rate again


class Rates:
    """Lets each caller have `rate` requests a second, and some at once.

    It is the generic cell rate algorithm: one number per caller, the time at which all that it asked for is paid off.

    Args:
        rate: Requests a second; 0 = any number.
        at_once: Requests at once by who has asked for nothing lately; default: those of two seconds.
    """

    def __init__(self, rate: float, at_once: float | None = None) -> None:
        self._each = 1 / rate if rate else 0.0
        self._ahead = max((2 * rate if at_once is None else at_once) - 1, 0.0) * self._each
        self._paid_off: Remembered[str, float] = Remembered(_CALLERS)

    def wait(self, caller: str) -> float:
        """Count a request, or say after how many seconds one will be let through; 0 = it was counted."""
        if not self._each:
            return 0.0
        wait = self.left_to_wait(caller)
        if wait == 0:
            now = time.monotonic()
            self._paid_off.put(caller, max(self._paid_off.get(caller) or now, now) + self._each)
        return wait

    def left_to_wait(self, caller: str) -> float:
        """The same, but nothing is counted."""
        return max((self._paid_off.get(caller) or 0.0) - self._ahead - time.monotonic(), 0.0)
