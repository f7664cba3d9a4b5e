"""Directories, locks and ports of the embedded servers.

As root the servers run under another account, which may have no way to the wanted directory (a checkout in root's
home, which is closed). Opening the way would expose the home; so the server's own directory is then made where any
account can get to, in the system's directory for temporary files, and a symbolic link in the wanted place points to
it. Its name is random, it belongs to that account and is closed to all others. What is lost: it may not survive a
reboot. Whoever wants to keep it names a data directory that the account can reach.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from workflow_engine.embedded.process import Account, can_execute
from workflow_engine.errors import StackUnavailable

# Outside the range the kernel takes the ports of outgoing connections from (32768 and up on Linux, 49152 on macOS):
# a server that is restarted must find its port free, also while its clients are reconnecting in a loop.
_PORTS = range(12000, 32000)


def make_data_directory(path: Path) -> Path:
    """Make a directory of ours if it is not there. Other accounts may pass through it, but not list it.

    Passing through is what the servers' account needs; every file in it that holds a secret is 0600.
    """
    path = path.absolute()
    if not path.is_dir():
        path.mkdir(parents=True)
        _let_pass(path)
    return path


def temporary_data_directory() -> Path:
    """A new directory of the same kind for something that lives as long as this process. Its user removes it."""
    path = Path(tempfile.mkdtemp(prefix="workflow-engine-"))
    _let_pass(path)
    return path


def _let_pass(path: Path) -> None:
    path.chmod(0o711 if os.geteuid() == 0 else 0o700)


def private_directory(wanted: Path, account: Account | None) -> Path:
    """A directory that only the account can read: `wanted`, or what a link at `wanted` points to (see above).

    Raises:
        StackUnavailable: It is there and belongs to someone else, or the account can no longer get to it.
    """
    owner = account.uid if account else os.geteuid()
    if wanted.is_symlink():
        target = wanted.resolve()
        if _is_private(target, owner) and can_execute(target, account):
            return target
        wanted.unlink()  # the target was cleaned away, or is not what we made
    if wanted.exists():
        if wanted.stat().st_uid != owner:
            raise StackUnavailable(
                f"{wanted} belongs to another account", hint="Use another --data-dir, or remove this one."
            )
        if not can_execute(wanted, account):
            raise StackUnavailable(f"The account {account.name if account else owner} cannot get to {wanted}")
        return wanted
    if can_execute(wanted.parent, account):
        wanted.mkdir(mode=0o700)
        place = wanted
    else:
        place = Path(tempfile.mkdtemp(prefix="workflow-engine-"))
        wanted.symlink_to(place)
    if account:
        os.chown(place, account.uid, account.gid)
    return place


def _is_private(path: Path, owner: int) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == owner and not status.st_mode & 0o077


class DirectoryLock:
    """At most one process works in a directory. The kernel frees the lock when that process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "lock"
        self._file: int | None = None

    def acquire(self, holder: str) -> None:
        """Take the lock and write down who has it.

        Raises:
            StackUnavailable: Another process has it; the message names it.
        """
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            present = os.read(file, 1000).decode(errors="replace").strip()
            os.close(file)
            raise StackUnavailable(
                f"{self._path.parent} is in use by {present or 'another process'}",
                hint="Stop it, or use another --data-dir.",
            ) from None
        os.ftruncate(file, 0)
        os.write(file, f"{holder} (pid {os.getpid()})\n".encode())
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def write_secret(path: Path, text: str, *, owner: Account | None = None) -> None:
    """Write a file in one step that only we, or `owner`, can read."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        draft.unlink()
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "w") as stream:
        if owner:
            os.fchown(file, owner.uid, owner.gid)
        stream.write(text)
    draft.replace(path)


def free_port(preferred: int | None = None, *, avoid: frozenset[int] = frozenset()) -> int:
    """A TCP port of 127.0.0.1 that nobody listens on: the preferred one if it is free.

    Between this answer and its use another process may take it; callers that may, try again with another.
    """
    candidates = [preferred] if preferred else []
    candidates += random.sample(_PORTS, 200)  # random: stacks that start together rarely meet
    for port in candidates:
        if port not in avoid and port_is_free(port):
            return port
    raise StackUnavailable("No free TCP port was found on 127.0.0.1")


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
