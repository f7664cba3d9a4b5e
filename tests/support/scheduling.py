"""Which tests run on the same worker of pytest-xdist, and in which order they are begun.

Most of a file's tests share fixtures of their file or of the session, so a file stays together, and so do the rows of
the runbook, which share one stack. Most other acceptance tests start everything themselves and mostly wait: each goes
wherever there is room. What takes longest is begun first, so that at the end nobody waits for one worker.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from xdist.scheduler import LoadScopeScheduling

_RUNBOOK = "tests/acceptance/runbook"
_SHARED = ("tests/acceptance/test_dev_stack.py",)  # files of acceptance tests that share what they start
_LONGEST = (
    _RUNBOOK,
    *_SHARED,
    "tests/acceptance/",
    "tests/integration/client/test_drain.py",
    "tests/sql/test_resources.py",
    "tests/sql/test_plans.py",
    "tests/sql/test_mixed.py",
    "tests/sql/test_pinning.py",
    "tests/sql/test_properties.py",
    "tests/sql/test_nested_properties.py",
    "tests/sql/test_wait_plans.py",
    "tests/integration/",
    "tests/api/",
    "tests/sql/",
)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Scopes are files, with the exceptions above."""

    def __init__(self, config: pytest.Config, log: object) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # by the number of tests, which says little

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(f"{_RUNBOOK}/"):
            return _RUNBOOK
        alone = nodeid.startswith("tests/acceptance/") and not nodeid.startswith(_SHARED)
        return nodeid if alone else nodeid.partition("::")[0]


def longest_first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The tests in the order in which they are begun; those of a kind stay in the order they have."""

    def rank(item: pytest.Item) -> int:
        found = (number for number, beginning in enumerate(_LONGEST) if item.nodeid.startswith(beginning))
        return next(found, len(_LONGEST))

    return sorted(items, key=rank)
