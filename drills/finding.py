"""What a drill reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """How a drill went.

    Attributes:
        seen: The symptoms that showed, in order.
        cured_by: What made it well again.
    """

    seen: Sequence[str]
    cured_by: Sequence[str]
