"""The cluster of a test: real processes on a database of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cluster import Cluster


@pytest.fixture
def cluster(tmp_path: Path, database_url: str, redis_url: str) -> Iterator[Cluster]:
    """Starts nothing by itself; ends what the test started."""
    cluster = Cluster(tmp_path, database_url, redis_url)
    yield cluster
    cluster.close()
