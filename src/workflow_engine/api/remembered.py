"""A bounded memory of one process: what was not used for longest is forgotten first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Values by key, as long as their sizes together stay within `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._total = 0
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def get(self, key: K) -> V | None:
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, *, size: int = 1) -> None:
        """Remember a value; one that is larger than everything allowed is not kept."""
        if key in self._values:
            self._total -= self._values.pop(key)[1]
        if size > self._limit:
            return
        self._values[key] = (value, size)
        self._total += size
        while self._total > self._limit:
            _, (_, freed) = self._values.popitem(last=False)
            self._total -= freed
