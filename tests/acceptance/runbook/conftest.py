"""One stack for all rows: two engines, two workers, real servers. A test leaves it as it found it, and what it started
may run on: rows look at their own workflows."""

from collections.abc import Iterator

import pytest
from support.stack import Stack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the order of the runbook, whatever order the others have: failures then read like it."""
    here = [number for number, item in enumerate(items) if item.path.parent.name == "runbook"]
    ordered = sorted((items[number] for number in here), key=lambda item: item.name.removeprefix("test_"))
    for number, item in zip(here, ordered, strict=True):
        items[number] = item


@pytest.fixture(scope="session")
def running_stack() -> Iterator[Stack]:
    with Stack() as stack:
        yield stack


@pytest.fixture
def stack(running_stack: Stack) -> Iterator[Stack]:
    yield running_stack
    running_stack.reset()
