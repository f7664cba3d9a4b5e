"""Log files: whole lines from many processes, bounded, under one inode, and never in the way."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workflow_engine.observability.log_files import LogFile, open_log_files

WRITER = """
import sys
from pathlib import Path
from workflow_engine.observability.log_files import LogFile

file = LogFile(Path(sys.argv[1]), max_bytes=int(sys.argv[3]), backups=int(sys.argv[4]))
for number in range(2000):
    assert file.write(f"{sys.argv[2]}-{number:04d} {'x' * 50}\\n".encode())
"""


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def backups(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.*"))


def test_all_files_exist_from_the_start(tmp_path: Path) -> None:
    open_log_files(tmp_path / "logs", max_bytes=4096, backups=1)
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["app.log", "tasks.log", "worker.log"]


def test_a_full_file_is_copied_and_emptied_so_that_a_reader_who_follows_it_stays(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    file = LogFile(path, max_bytes=4096, backups=2)
    inode = path.stat().st_ino
    for number in range(300):  # some 15 KB
        file.write(f"{number:04d} {'x' * 45}\n".encode())
    assert path.stat().st_ino == inode
    assert path.stat().st_size <= 4096
    assert [copy.name for copy in backups(path)] == ["app.log.1", "app.log.2"], "no more than are wanted"
    kept = [*lines(tmp_path / "app.log.2"), *lines(tmp_path / "app.log.1"), *lines(path)]
    assert [int(line[:4]) for line in kept] == list(range(300 - len(kept), 300)), "in order, nothing between them lost"


def test_without_backups_a_full_file_is_only_emptied(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "app.log", max_bytes=4096, backups=0)
    for _ in range(100):
        file.write(b"x" * 99 + b"\n")
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["app.log"]
    assert (tmp_path / "app.log").stat().st_size <= 4096


def test_processes_that_write_and_rotate_at_once_lose_no_line_and_cut_none(tmp_path: Path) -> None:
    path = tmp_path / "tasks.log"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, "20000", "100"]) for name in ("a", "b", "c")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    files = [path, *backups(path)]
    assert len(files) > 5
    found = sorted(line.split()[0] for file in files for line in lines(file))
    assert found == sorted(f"{name}-{number:04d}" for name in "abc" for number in range(2000))


def test_a_directory_that_vanishes_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "app.log"
    file = LogFile(path, max_bytes=4096, backups=1)
    path.unlink()
    path.parent.rmdir()
    file._look_at = 0.0  # as if a second had passed
    assert file.write(b"here\n")
    assert lines(path) == ["here"]


def test_a_file_that_somebody_else_rotates_by_renaming_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    file = LogFile(path, max_bytes=4096, backups=1)
    file.write(b"old\n")
    path.rename(tmp_path / "elsewhere")
    file._look_at = 0.0
    file.write(b"new\n")
    assert lines(path) == ["new"]


def test_a_stopped_process_that_holds_the_lock_stops_nobody(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    file = LogFile(path, max_bytes=4096, backups=1)
    with path.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert all(file.write(b"x" * 99 + b"\n") for _ in range(60))
    assert path.stat().st_size == 6000, "it could not be emptied, and was written all the same"


def test_a_full_disk_costs_lines_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LogFile(tmp_path / "app.log", max_bytes=4096, backups=1)
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    def nearly_full(descriptor: int, data: bytes) -> int:
        return write(descriptor, data[:3])

    monkeypatch.setattr(os, "write", full)
    assert not file.write(b"first\n")
    monkeypatch.setattr(os, "write", nearly_full)
    assert not file.write(b"second\n")
    monkeypatch.setattr(os, "write", write)
    assert file.write(b"third\n")
    assert lines(tmp_path / "app.log") == ["sec", "third"], "a torn line does not take the next one with it"
