"""Become another program that dies with its parent: `launch.py PARENT SIGNAL UID GID -- COMMAND...`.

Run as a script, by path, in an isolated interpreter; it imports nothing of the engine. It exists because
`subprocess(preexec_fn=...)` is unsafe in a process with threads, and because the kernel forgets the death signal when
the user id changes, so the account must be dropped first. UID -1 keeps the account.
"""

# All imports come before the account is dropped: the interpreter may lie where only our account can read.
import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
WATCH_SECONDS = 0.5


def main(arguments: list[str]) -> None:
    parent, death_signal, uid, gid = (int(value) for value in arguments[:4])
    command = arguments[arguments.index("--") + 1 :]
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        _ask_the_kernel(death_signal)
    else:
        _watch(parent, death_signal)
    if os.getppid() != parent:
        sys.exit(1)  # the parent died before it could be watched
    os.execvp(command[0], command)  # noqa: S606 no shell is meant


def _ask_the_kernel(death_signal: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


def _watch(parent: int, death_signal: int) -> None:
    """Without that system call: leave a process behind that looks whether the parent is still there."""
    program = os.getpid()
    if os.fork() != 0:
        return
    os.setsid()
    while os.getppid() == program:
        try:
            os.kill(parent, 0)
        except ProcessLookupError:
            os.kill(program, death_signal)
            break
        except PermissionError:
            pass  # the parent has another account: it lives
        time.sleep(WATCH_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    main(sys.argv[1:])
