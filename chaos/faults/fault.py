"""What a fault is, and what it tells."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from chaos.world import World


@dataclass(slots=True)
class Finding:
    """What one fault did.

    Attributes:
        proof: How it is known that it bit, in words; empty: it did not.
        recoveries: Seconds until what it had hit went on, one for each thing it hit.
        wrong: What must not have happened, and did.
    """

    proof: str = ""
    recoveries: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


Inflict: TypeAlias = Callable[[World], Awaitable[Finding]]


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault.

    Attributes:
        inflict: Does it, undoes it, and waits until what it hit goes on.
        bound: Seconds that 95 of 100 recoveries may take; None: there is no bound.
        times: How often it comes in each round.
    """

    name: str
    inflict: Inflict
    bound: float | None = None
    times: int = 1
