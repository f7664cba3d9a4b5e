"""A process that evaluates the expressions which might take long or much memory, and is killed if they do.

The CEL library bounds iterations and recursion, but neither time nor memory: a dozen characters of `replace`, `join` or
nested `map` over an ordinary input take minutes or gigabytes, inside C++ code that nothing in Python can interrupt. So
whatever is not cheap for sure (`weight`) is evaluated here, where the kernel sets the bounds: processor time of one
evaluation, and memory beyond what the idle process has. It costs some 0.2 ms an evaluation; most expressions are
lookups of names, or work on little, and never come here.

The process is started when it is first needed, and anew after it was killed. It ends when its parent's end of the pipe
is closed, whatever became of the parent.
"""

from __future__ import annotations

import atexit
import marshal
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import IO, Any

import orjson

MAX_CPU_SECONDS = 0.8
"""Of one evaluation."""
MAX_GROWTH = 40 << 20
"""Bytes of memory that an evaluation may need."""
MAX_RESULT = 2 << 20
"""Bytes of JSON that an evaluation may give."""
MAX_DATA = 8 << 20
"""Bytes that an evaluation may read."""

TOO_LONG = f"it takes more than {MAX_CPU_SECONDS:g} s of computing; do this in a handler"
TOO_LARGE = f"it needs more than {MAX_GROWTH >> 20} MiB of memory; do this in a handler"

_MAX_WALL_SECONDS = 30.0  # the machine is overloaded beyond use, or the process stands still
_KEPT_GROWTH = 16 << 20  # what may remain of earlier evaluations before a fresh process takes over
_LENGTH = struct.Struct("<I")
_PAGE = resource.getpagesize()


class Sandbox:
    """One such process and the way to it. For any thread; one evaluation at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._guard = threading.Lock()

    def evaluate(self, text: str, names: tuple[str, ...], data: Mapping[str, Any]) -> Any:
        """The value of an expression as plain JSON data.

        Args:
            text: CEL that compiles.
            names: As for `compile_expression`.
            data: What it reads.

        Raises:
            ValueError: With a reason for the author.
        """
        try:
            request = marshal.dumps((text, names, dict(data)))
        except ValueError as error:
            raise ValueError(f"it reads what is not JSON: {error}") from error
        if len(request) > MAX_DATA:
            raise ValueError(f"it reads more than {MAX_DATA >> 20} MiB; do this in a handler")
        with self._guard:
            answer = self._ask(request)
        if "reason" in answer:
            raise ValueError(answer["reason"])
        return answer["value"]

    def close(self) -> None:
        """End the process, if there is one; it is started again when it is needed."""
        with self._guard:
            if self._process is not None:
                self._end(self._process)

    def _ask(self, request: bytes) -> dict[str, Any]:
        try:
            process = self._started()
        except (OSError, EOFError) as error:
            return {"reason": f"its process could not be started: {error!r}"}
        assert process.stdin is not None
        try:
            process.stdin.write(_LENGTH.pack(len(request)) + request)
            process.stdin.flush()
            answer: dict[str, Any] = orjson.loads(self._answer(process))
        except (OSError, EOFError):
            self._end(process)
            self._launch()  # it gets ready while nobody waits for it
            return {"reason": TOO_LONG if process.returncode == -signal.SIGPROF else TOO_LARGE}
        if answer.get("last"):
            self._end(process)
            self._launch()
        return answer

    def _answer(self, process: subprocess.Popen[bytes]) -> bytes:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], _MAX_WALL_SECONDS)
        if not ready:
            process.send_signal(signal.SIGPROF)
            raise EOFError
        (length,) = _LENGTH.unpack(_read(process.stdout, _LENGTH.size))
        return _read(process.stdout, length)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end(self._process)
        process = self._process or self._launch()
        if not self._ready:
            _read(process.stdout, 1)  # its word that it is; what comes is no part of an evaluation
            self._ready = True
        return process

    def _launch(self) -> subprocess.Popen[bytes]:
        self._ready = False
        self._process = subprocess.Popen(  # noqa: S603 this very module
            [sys.executable, "-c", f"from {__name__} import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # the C++ library's words about its own end
            start_new_session=True,  # a Ctrl-C is for the parent
            env=_environment(),
        )
        return self._process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if not _dying(process):
            process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue  # what was not sent yet
        process.wait()
        self._process = None


SANDBOX = Sandbox()
"""Of this process."""
atexit.register(SANDBOX.close)


def _environment() -> dict[str, str]:
    """What it needs to find the same code; nothing of what is secret."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL") if name in os.environ}
    # One arena: others would be reserved address space, which is what is bounded.
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "MALLOC_ARENA_MAX": "1"}


def _dying(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process ends by itself within a moment: its end of the pipe was closed before it is reaped."""
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        return False
    return True


def _read(stream: IO[bytes] | None, length: int) -> bytes:
    assert stream is not None
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return data


# In the process itself ------------------------------------------------------------------------------------------------


def serve() -> None:
    """Answer requests from stdin on stdout until stdin is closed."""
    from workflow_engine.definition.expressions import evaluate_here

    evaluate_here("[1].map(x, x + 1)", (), {})  # what is loaded and allocated once
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    idle = _memory()
    resource.setrlimit(resource.RLIMIT_AS, (idle + MAX_GROWTH + MAX_DATA, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers.write(b"!")
    answers.flush()
    while header := requests.read(_LENGTH.size):
        request = requests.read(_LENGTH.unpack(header)[0])
        signal.setitimer(signal.ITIMER_PROF, MAX_CPU_SECONDS)
        answer = _answered(evaluate_here, request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        last = _memory() > idle + _KEPT_GROWTH
        body = answer if not last else b'{"last":true,' + answer[1:]
        answers.write(_LENGTH.pack(len(body)) + body)
        answers.flush()
        if last:
            return


def _answered(evaluate: Any, request: bytes) -> bytes:
    try:
        text, names, data = marshal.loads(request)  # noqa: S302 of our parent
        value = orjson.dumps(evaluate(text, names, data))
    except (ValueError, LookupError, TypeError, MemoryError) as error:
        out_of_memory = isinstance(error, MemoryError) or "bad_alloc" in str(error)
        return orjson.dumps({"reason": TOO_LARGE if out_of_memory else str(error)})
    if len(value) > MAX_RESULT:
        return orjson.dumps({"reason": f"its value is larger than {MAX_RESULT >> 20} MiB; do this in a handler"})
    return b'{"value":' + value + b"}"


def _memory() -> int:
    """Bytes of address space of this process; 0 where that is not told."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * _PAGE
    except OSError:
        return 0
