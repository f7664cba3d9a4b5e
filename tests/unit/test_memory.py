"""The memory a worker may use, as its cgroups say."""

from pathlib import Path

import pytest

from workflow_engine.worker.memory import cgroup_limit, memory_limit


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty /sys/fs/cgroup."""
    return tmp_path / "cgroup"


def group(root: Path, path: str, name: str, limit: str) -> None:
    (root / path).mkdir(parents=True, exist_ok=True)
    (root / path / name).write_text(f"{limit}\n")


def membership(tmp_path: Path, text: str) -> Path:
    (tmp_path / "self").write_text(text)
    return tmp_path / "self"


def test_in_a_container_the_limit_is_that_of_the_root(tmp_path: Path, root: Path) -> None:
    group(root, "", "memory.max", "2147483648")
    assert cgroup_limit(membership(tmp_path, "0::/\n"), root) == 2147483648


def test_the_smallest_limit_on_the_way_up_counts(tmp_path: Path, root: Path) -> None:
    group(root, "pods", "memory.max", "1000")
    group(root, "pods/pod1", "memory.max", "max")
    group(root, "pods/pod1/worker", "memory.max", "5000")
    assert cgroup_limit(membership(tmp_path, "0::/pods/pod1/worker\n"), root) == 1000


def test_version_1_is_understood_also_where_the_path_is_that_of_the_host(tmp_path: Path, root: Path) -> None:
    group(root, "memory", "memory.limit_in_bytes", "3000")
    lines = "12:cpu,cpuacct:/docker/abc\n5:memory:/docker/abc\n"
    assert cgroup_limit(membership(tmp_path, lines), root) == 3000


@pytest.mark.parametrize("limit", ["max", "9223372036854771712"])
def test_without_a_limit_there_is_none(tmp_path: Path, root: Path, limit: str) -> None:
    group(root, "", "memory.max", limit)
    assert cgroup_limit(membership(tmp_path, "0::/\n"), root) is None
    assert cgroup_limit(tmp_path / "absent", root) is None


def test_a_configured_limit_beats_the_cgroups() -> None:
    assert memory_limit(123) == 123
