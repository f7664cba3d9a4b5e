"""Values of labels that people choose: so many have a label of their own, and all others are `other`.

Whoever may start workflows can make names up, and each new value of a label is a set of series for as long as
Prometheus keeps anything.
"""

from __future__ import annotations

from collections.abc import Iterable

OTHER = "other"


class Labels:
    """The values that have a label of their own, each for as long as the process lives.

    Args:
        most: So many at once.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._values: set[str] = set()

    @property
    def full(self) -> bool:
        return len(self._values) >= self.most

    def admit(self, values: Iterable[str]) -> list[str]:
        """Give them labels while there is room; returns those that are new."""
        fresh = [value for value in dict.fromkeys(values) if value not in self._values]
        fresh = fresh[: max(0, self.most - len(self._values))]
        self._values.update(fresh)
        return fresh

    def of(self, value: str | None) -> str:
        """The label of a value; None is one that is not known any more."""
        return value if value is not None and value in self._values else OTHER
