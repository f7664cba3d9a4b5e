"""An engine and a worker for the commands that ask them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cluster import Cluster


@pytest.fixture
def cluster(tmp_path: Path, database_url: str, redis_url: str) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, database_url, redis_url)
    cluster.up()
    yield cluster
    cluster.close()
