"""Child processes that never outlive their parent, and the account that root drops to.

A `Child` must be started from the main thread: the kernel sends the death signal when the *thread* that started it
ends.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from workflow_engine.errors import StackUnavailable

_LAUNCH = Path(__file__).with_name("launch.py")
_SERVICE_ACCOUNTS = ("postgres", "nobody")
KILL_SECONDS = 5.0  # a process that was sent SIGKILL is gone long before


@dataclass(frozen=True, slots=True)
class Account:
    """An account of this machine."""

    name: str
    uid: int
    gid: int


def service_account() -> Account | None:
    """The account servers run under: None = our own; as root an existing one, because PostgreSQL refuses root.

    Raises:
        StackUnavailable: We are root and the machine has none of the usual accounts.
    """
    if os.geteuid() != 0:
        return None
    for name in _SERVICE_ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise StackUnavailable(
        f"PostgreSQL refuses to run as root, and this machine has none of the accounts {', '.join(_SERVICE_ACCOUNTS)}",
        hint="Run as an ordinary user, or set DATABASE_URL and REDIS_URL.",
    )


def can_execute(path: Path, account: Account | None) -> bool:
    """Whether the account may execute that file (or enter that directory), asked of the kernel rather than guessed."""
    if account is None:
        return os.access(path, os.X_OK)
    return (
        subprocess.run(
            ["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)],
            cwd="/",
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            check=False,
        ).returncode
        == 0
    )


def launch_command(
    command: Sequence[str | Path], *, account: Account | None = None, death_signal: int = signal.SIGKILL
) -> list[str]:
    """The command that runs `command` under the account and has it end with this process."""
    uid, gid = (account.uid, account.gid) if account else (-1, -1)
    launcher = [sys.executable, "-I", "-S", str(_LAUNCH)]
    return [*launcher, *map(str, (os.getpid(), int(death_signal), uid, gid)), "--", *map(str, command)]


def run(command: Sequence[str | Path], *, account: Account | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a short-lived program to its end and return what it printed.

    Raises:
        StackUnavailable: It failed; the message carries its output.
    """
    done = subprocess.run(
        launch_command(command, account=account),
        cwd="/",
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise StackUnavailable(f"{Path(command[0]).name} failed ({done.returncode}): {done.stdout.strip()[-2000:]}")
    return done.stdout


class Child:
    """One running child in a session of its own, so that Ctrl-C reaches only the parent, which stops it in order."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        account: Account | None = None,
        death_signal: int = signal.SIGKILL,
        cwd: Path | str | None = None,
    ) -> None:
        """Start it.

        Args:
            command: Program and arguments.
            log: File its output is appended to; made readable for us alone.
            env: Its whole environment; None = ours.
            account: Account to drop to; None = ours.
            death_signal: What the kernel sends it when we die.
            cwd: Its working directory; None = ours.
        """
        with open_log(log) as output:
            self._process = subprocess.Popen(
                launch_command(command, account=account, death_signal=death_signal),
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative = the signal that ended it."""
        return self._process.poll()

    @property
    def alive(self) -> bool:
        return self.exit_code is None

    def send(self, number: int) -> None:
        """Send a signal; nothing happens when it has ended already."""
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM, *, grace: float = 10.0) -> None:
        """Ask it to end and wait; after `grace` seconds kill it and what it started."""
        if not self.alive:
            return
        self.send(number)
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait(KILL_SECONDS)


def open_log(path: Path) -> IO[bytes]:
    """Open a log for appending; whoever may read it is decided by us alone (0600), whatever the umask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
