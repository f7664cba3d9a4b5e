"""Public workflows, written in the definition language, each with cases that are played in test mode."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.databases import new_database


@pytest.fixture(scope="session")
def trials_url(server_url: str, template_database: str) -> Iterator[str]:
    """A migrated database for trials: as they leave nothing behind, all tests may share it."""
    with new_database(server_url, "trials", template=template_database) as url:
        yield url
