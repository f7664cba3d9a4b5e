"""Engines and workers that are forks of a process which has imported them already.

Nearly all that it costs to start one is importing, and the tests start hundreds. So the first one that is wanted starts
`python -m support.warm SOCKET`, which imports what they need and then forks: each fork gets the environment, the
output, the session and the command line of a process of its own, runs `workflow_engine.cli.main`, and ends as any other
program does. What an interpreter reads when it starts it can no longer be told: who has another PYTHONPATH is started
in the usual way, and so is whoever a test wants so. `dev` and `demo` start all theirs as users have them.

    child = start(("worker",), env=environment, log=path)  # then as a `Child`
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow_engine.embedded.places import temporary_data_directory
from workflow_engine.embedded.process import KILL_SECONDS, Child, open_log, tail
from workflow_engine.embedded.services import engine_command

START_SECONDS = 60.0
_LOOK_SECONDS = 0.01
_PR_SET_PDEATHSIG = 1
_ROOM = "-" * 400  # for the command line of a fork, in the place of ours
_READ_AT_START = "PYTHONPATH", "PYTHONHASHSEED", "PYTHONOPTIMIZE", "PYTHONMALLOC", "PYTHONUNBUFFERED"
_IMPORTED = (
    "support.ledger",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "workflow_engine.api.server",
    "workflow_engine.asgi",
    "workflow_engine.cli",
    "workflow_engine.client.drain",
    "workflow_engine.doctor",
    "workflow_engine.execution",
    "workflow_engine.handlers.builtin",
    "workflow_engine.worker.runtime",
)


def start(arguments: tuple[str, ...], *, env: Mapping[str, str], log: Path, cold: bool = False) -> Child | WarmChild:
    """Start `workflow-engine <arguments>` with this whole environment, its output appended to `log`.

    Args:
        cold: Start it in the usual way, as an interpreter that knows nothing yet.
    """
    if cold or not _may_be_warm(env):
        return Child(engine_command(*arguments), env=env, log=log)
    return _fork(arguments, env, log, log)


def run(*arguments: str, env: Mapping[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run `workflow-engine <arguments>` with this whole environment to its end; as `subprocess.run` does."""
    command = engine_command(*arguments)
    if env.get("PYTHONPATH") == os.environ.get("PYTHONPATH"):
        env = {**env, "PYTHONPATH": _python_path()}  # there is nothing in it that a command would take
    if not _may_be_warm(env):
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout, check=False)
    directory = temporary_data_directory()
    try:
        output, errors = directory / "output", directory / "errors"
        child = _fork(arguments, env, output, errors)
        if not child.ends(timeout):
            child.stop(signal.SIGKILL)
            raise subprocess.TimeoutExpired(command, timeout, output.read_text(), errors.read_text())
        code = child.exit_code
        assert code is not None
        return subprocess.CompletedProcess(command, code, output.read_text(), errors.read_text())
    finally:
        shutil.rmtree(directory)


def _may_be_warm(env: Mapping[str, str]) -> bool:
    ours = {**os.environ, "PYTHONPATH": _python_path()}
    return sys.platform == "linux" and all(env.get(name) == ours.get(name) for name in _READ_AT_START)


def _fork(arguments: tuple[str, ...], env: Mapping[str, str], output: Path, errors: Path) -> WarmChild:
    for log in (output, errors):
        open_log(log).close()
    places = {"output": str(output), "errors": str(errors), "cwd": str(Path.cwd())}
    server = _server(os.getpid())
    return WarmChild(server, server.ask(do="start", command=engine_command(*arguments), env=dict(env), **places))


def _python_path() -> str:
    """What `support.cluster` gives its processes, and has itself where it is such a process."""
    tests, given = str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")
    return given if given.split(os.pathsep)[0] == tests else os.pathsep.join(filter(None, [tests, given]))


class WarmChild:
    """One fork; it is used as a `Child` is."""

    def __init__(self, server: _Server, pid: int) -> None:
        self.pid = pid
        self._server = server
        self._code: int | None = None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative = the signal that ended it."""
        if self._code is None:
            self._code = self._server.ask(do="code", pid=self.pid)
        return self._code

    @property
    def alive(self) -> bool:
        return self.exit_code is None

    def send(self, number: int) -> None:
        """Send a signal; nothing happens when it has ended already."""
        if self._code is None:
            self._server.ask(do="signal", pid=self.pid, number=int(number))

    def stop(self, number: int = signal.SIGTERM, *, grace: float = 10.0) -> None:
        """Ask it to end and wait; after `grace` seconds kill it and what it started."""
        if not self.alive:
            return
        self.send(number)
        if not self.ends(grace):
            self._server.ask(do="kill", pid=self.pid)
            assert self.ends(KILL_SECONDS), f"{self.pid} outlives its SIGKILL"

    def ends(self, seconds: float) -> bool:
        """Wait for its end; whether it came in time."""
        until = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() > until:
                return False
            time.sleep(_LOOK_SECONDS)
        return True


class _Server:
    """The process that forks, as this one sees it. It ends with this one, and what it started with it."""

    def __init__(self) -> None:
        self._directory = temporary_data_directory()
        address, log = self._directory / "socket", self._directory / "log"
        command = [sys.executable, "-m", __name__, str(address), _ROOM]
        self._child = Child(command, env={**os.environ, "PYTHONPATH": _python_path()}, log=log)
        self._connection = socket.socket(socket.AF_UNIX)
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                self._connection.connect(str(address))
                break
            except OSError:
                if not self._child.alive or time.monotonic() > until:
                    raise RuntimeError(f"Nothing is imported:\n{tail(log)}") from None
                time.sleep(_LOOK_SECONDS)
        self._answers = self._connection.makefile("r")
        self._asking = threading.Lock()
        shutil.rmtree(self._directory)  # nobody else is to connect, and what it opened stays open
        atexit.register(self.close)

    def close(self) -> None:
        self._answers.close()
        self._connection.close()
        self._child.stop(signal.SIGKILL)

    def ask(self, **request: Any) -> Any:
        with self._asking:
            self._connection.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(self._answers.readline())


@functools.cache
def _server(_pid: int) -> _Server:
    return _Server()


# The process that forks -----------------------------------------------------------------------------------------------


def _serve(address: str) -> None:
    """Fork when asked to. Returns in the forks alone."""
    for name in _IMPORTED:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a fork has no other threads, but the locks that they held"
    gc.freeze()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen()
    connection, _ = listening.accept()
    listening.close()
    requests = connection.makefile("r")
    codes: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([connection], [], [], 0.1)
        _reap(codes)
        if not ready:
            continue
        line = requests.readline()
        if not line:
            sys.exit(0)
        request = json.loads(line)
        answer = None
        if request["do"] == "start":
            answer = os.fork()
            if answer == 0:
                requests.close()
                connection.close()
                _become(request)
                return
            codes.pop(answer, None)  # of one before that had the same number
        elif request["do"] == "code":
            answer = codes.get(request["pid"])
        elif request["pid"] not in codes:  # who was not waited for yet has its number for itself
            if request["do"] == "kill":
                os.killpg(request["pid"], signal.SIGKILL)
            else:
                os.kill(request["pid"], request["number"])
        connection.sendall(json.dumps(answer).encode() + b"\n")


def _reap(codes: dict[int, int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        codes[pid] = os.waitstatus_to_exitcode(status)


def _become(request: dict[str, Any]) -> None:
    """Have what a process has that was started for this alone."""
    os.setsid()
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    output, errors = (os.open(request[name], os.O_WRONLY | os.O_APPEND) for name in ("output", "errors"))
    for number, file in enumerate((nothing, output, errors)):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    command: list[str] = request["command"]
    sys.argv, sys.orig_argv = command[1:], command
    _show(command)


def _show(command: list[str]) -> None:
    """Have the process list show this command line, in the place of ours."""
    with open("/proc/self/stat") as file:
        start, end = map(int, file.read().rpartition(")")[2].split()[45:47])
    text = "\0".join(command).encode()[: end - start - 1]
    ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)


if __name__ == "__main__":
    _serve(sys.argv[1])
    __package__ = __spec__ = None  # it was no `python -m` that started this
    from workflow_engine.cli import main

    main()
