"""The shape of a duty."""

from __future__ import annotations

from typing import Protocol


class Duty(Protocol):
    """Something the leader does again and again."""

    name: str
    every: float  # seconds between the starts of two sweeps
    asked: bool  # only while workflow.concerns names it
    patience: float  # seconds it waits after the leader's connection was made: Postgres may just have come back

    async def sweep_once(self) -> dict[str, int]:
        """Do a bounded amount of it now.

        Returns:
            What was done, by kind; all zero when there was nothing to do. A sweep that did something is logged, and
            repeated at once if it may have left something over.
        """
        ...
