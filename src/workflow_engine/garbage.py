"""Seldom looking for garbage that refers to itself, in processes that make little of it."""

from __future__ import annotations

import gc

_ALLOCATIONS = 10_000  # not freed since the last look: by default 700, which one request or attempt is enough for
_OLDER = 20  # looks at what is new for one at what is older


def collect_seldom() -> None:
    """Leave alone what has been loaded, from now on, and look for garbage each ten thousand allocations.

    Called once by a process that has all it needs: a look at all of it holds up the event loop for 20 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, _OLDER, _OLDER)
