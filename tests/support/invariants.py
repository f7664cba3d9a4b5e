"""What must hold of the data in every snapshot: the view `workflow.invariant_violations` is empty."""

from __future__ import annotations

from typing import Any, Protocol


class Database(Protocol):
    """Whatever runs a query."""

    def rows(self, query: str, /) -> list[dict[str, Any]]: ...


def assert_sound(database: Database, *, at_rest: bool = False) -> None:
    """Fail with what is broken.

    Args:
        at_rest: Also ask for what somebody should have done within a minute; not where a test moves the clock.
    """
    broken = database.rows(
        "select * from workflow.invariant_violations" + ("" if at_rest else " where instant") + " limit 20"
    )
    assert not broken, broken
