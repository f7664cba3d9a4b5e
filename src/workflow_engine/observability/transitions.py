"""One line for each transition of an attempt, at a microsecond or two a line.

A worker makes thousands of transitions a second, and a line by structlog costs 20 to 30 microseconds. So the event loop
only notes what happened; a thread puts the lines together, from parts that were rendered before, and writes them: at
once after a pause, else every 100 ms, and at the end. Of a process that is killed the last 100 ms may be missing; the
database has them.

`tasks.log` gets every line. Stdout (and `worker.log`) get at most so many a second, failures counted apart, and then
one line that says how many were left out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from workflow_engine.observability.logs import json_fields, logfmt_line, logfmt_value
from workflow_engine.observability.output import Output
from workflow_engine.observability.trace_context import trace_fields
from workflow_engine.records import Claim

ORDINARY_PER_SECOND = 100
FAILURES_PER_SECOND = 1000
_FLUSH_SECONDS = 0.1
_MOST_WAITING = 50_000  # lines for a disk that hangs; then they are dropped, and counted
_SECOND = 1_000_000_000  # in nanoseconds
_MICROSECOND = 1000

_PICKED_UP = "task picked up"


class Identity:
    """What names an attempt in its lines. Keeps no claim, whose data may be large."""

    __slots__ = ("attempt", "step", "task_id", "text", "traceparent", "type", "workflow_id")

    def __init__(self, claim: Claim, step: str, type: str) -> None:
        self.workflow_id = claim.workflow_id
        self.task_id = claim.task_id
        self.attempt = claim.attempt
        self.traceparent = claim.traceparent
        self.step = step
        self.type = type
        self.text = ""  # as it stands in a line, once there was one


# When, in nanoseconds since 1970; how its line is put together, and from what; whether it tells of a failure.
_Noted: TypeAlias = tuple[int, Callable[..., str], Identity, tuple[Any, ...], bool]


class Transitions:
    """The lines of one worker. Noted by one thread, written by another.

    Args:
        output: Where they end.
        worker: Name of the worker.
        now: The time in nanoseconds since 1970.
    """

    def __init__(self, output: Output, worker: str, *, now: Callable[[], int] = time.time_ns) -> None:
        self.worker = worker
        self._output = output
        self._now = now
        self._form = _Json(worker, output.role) if output.log_format == "json" else _Logfmt(worker, output.role)
        self._ordinary = _Bound(ORDINARY_PER_SECOND)
        self._failures = _Bound(FAILURES_PER_SECOND)
        self._to_tasks = output.has_tasks_file
        self._tells_ordinary = output.level <= logging.INFO
        self._tells_failures = output.level <= logging.WARNING
        self._second, self._prefix = 0, ""
        self._noted: deque[_Noted] = deque()
        self._lost = 0
        self._writing = threading.Lock()  # held while lines are put together; not while they are written
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="transitions", daemon=True)
        self._thread.start()

    def picked_up(self, claim: Claim, step: str, type: str) -> Identity:
        """Tell that an attempt begins; returns what names it in the lines that follow."""
        identity = Identity(claim, step, type)
        if self._to_tasks or self._tells_ordinary:
            self._note((self._now(), self._form.picked_up, identity, (claim.wait_seconds,), False))
        return identity

    def ended(self, identity: Identity, outcome: str, seconds: float) -> None:
        """Tell that an attempt ended without an error: succeeded, skipped, released, stopped."""
        if self._to_tasks or self._tells_ordinary:
            self._note((self._now(), self._form.ended, identity, (outcome, seconds), False))

    def failed(self, identity: Identity, message: str, outcome: str, seconds: float, fields: Mapping[str, Any]) -> None:
        """Tell that an attempt ended with an error; `message` is the line's."""
        described = {"outcome": outcome, "seconds": round(seconds, 3), **fields}
        if self._to_tasks or self._tells_failures:
            self._note((self._now(), self._form.failed, identity, (message, described), True))

    def close(self) -> None:
        """Write what is left and end the thread."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout=5)
        self._flush(last=True)

    def _note(self, noted: _Noted) -> None:
        if len(self._noted) < _MOST_WAITING:
            self._noted.append(noted)
        else:
            with self._writing:
                self._lost += 1
        if not self._wake.is_set():
            self._wake.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(None if not self._left_out() else _FLUSH_SECONDS)
            self._wake.clear()
            self._flush()
            self._closing.wait(_FLUSH_SECONDS)

    def _left_out(self) -> int:
        return self._ordinary.left_out + self._failures.left_out

    def _flush(self, *, last: bool = False) -> None:
        with self._writing:
            main, tasks = self._lines()
            now = self._now()
            left_out = self._ordinary.take_left_out(now, last) + self._failures.take_left_out(now, last)
            lost, self._lost = self._lost, 0
            if left_out:
                where = "tasks.log" if self._to_tasks else None
                main.append(self._form.counted(self._time(now), "task lines left out", left_out, where))
            if lost:
                main.append(self._form.counted(self._time(now), "task lines lost, writing them hangs", lost, None))
        if main:
            self._output.write("".join(main))
        if tasks:
            self._output.write_tasks("".join(tasks))

    def _lines(self) -> tuple[list[str], list[str]]:
        """What was noted until now, as lines for stdout and for `tasks.log`."""
        main: list[str] = []
        tasks: list[str] = []
        for _ in range(len(self._noted)):
            at, render, identity, parts, failure = self._noted.popleft()
            told, bound = (self._tells_failures, self._failures) if failure else (self._tells_ordinary, self._ordinary)
            to_main = told and bound.admits(at)
            if not to_main and not self._to_tasks:  # it is counted, and never put together
                continue
            identity.text = identity.text or self._form.identity(identity)
            line = render(self._time(at), identity.text, *parts)
            if to_main:
                main.append(line)
            if self._to_tasks:
                tasks.append(line)
        return main, tasks

    def _time(self, nanoseconds: int) -> str:
        second, rest = divmod(nanoseconds, _SECOND)
        if second != self._second:
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._prefix}.{rest // _MICROSECOND:06d}Z"


class _Bound:
    """At most so many a second, and how many were refused. Guarded by its user."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._begun = -_SECOND  # the second that is counted, in nanoseconds since 1970
        self._left = 0
        self.left_out = 0

    def admits(self, now: int) -> bool:
        if 0 <= now - self._begun < _SECOND:
            if self._left > 0:
                self._left -= 1
                return True
        elif not self.left_out:  # what was left out is told first, by the next flush after the second
            self._begun, self._left = now, self._per_second - 1
            return True
        self.left_out += 1
        return False

    def take_left_out(self, now: int, last: bool) -> int:
        if not self.left_out or (0 <= now - self._begun < _SECOND and not last):
            return 0
        count, self.left_out = self.left_out, 0
        return count


class _Logfmt:
    def __init__(self, worker: str, role: str) -> None:
        self._tail = f"worker={logfmt_value(worker)} role={role}"
        self._role = role
        self._steps: dict[tuple[str, str], str] = {}
        self._picked_up = logfmt_value(_PICKED_UP)

    def identity(self, of: Identity) -> str:
        part = self._steps.get((of.step, of.type)) or _kept(
            self._steps, (of.step, of.type), lambda: f"step={logfmt_value(of.step)} type={logfmt_value(of.type)}"
        )
        trace = "" if of.traceparent is None else f" {logfmt_line(trace_fields(of.traceparent))}"
        return f"workflow_id={of.workflow_id} task_id={of.task_id} {part} attempt={of.attempt} {self._tail}{trace}"

    def picked_up(self, now: str, identity: str, waited: float) -> str:
        return f"time={now} level=info msg={self._picked_up} {identity} wait_seconds={waited:.3f}\n"

    def ended(self, now: str, identity: str, outcome: str, seconds: float) -> str:
        return f'time={now} level=info msg="task {outcome}" {identity} outcome={outcome} seconds={seconds:.3f}\n'

    def failed(self, now: str, identity: str, message: str, fields: Mapping[str, Any]) -> str:
        rest = "".join(f" {name}={logfmt_value(value)}" for name, value in fields.items() if value is not None)
        return f"time={now} level=warning msg={logfmt_value(message)} {identity}{rest}\n"

    def counted(self, now: str, message: str, count: int, where: str | None) -> str:
        place = f" all_in={where}" if where else ""
        return f'time={now} level=info msg="{message}" count={count}{place} {self._tail}\n'


class _Json:
    def __init__(self, worker: str, role: str) -> None:
        self._tail = json_fields({"worker": worker, "role": role})
        self._steps: dict[tuple[str, str], str] = {}

    def identity(self, of: Identity) -> str:
        part = self._steps.get((of.step, of.type)) or _kept(
            self._steps, (of.step, of.type), lambda: json_fields({"step": of.step, "type": of.type})
        )
        # It begins inside the message, which repeats the pair.
        ids = f'workflow_id={of.workflow_id}","workflow_id":"{of.workflow_id}","task_id":{of.task_id}'
        trace = "" if of.traceparent is None else f",{json_fields(trace_fields(of.traceparent))}"
        return f' {ids},{part},"attempt":{of.attempt},{self._tail}{trace}'

    def picked_up(self, now: str, identity: str, waited: float) -> str:
        return f'{{"time":"{now}","level":"info","msg":"{_PICKED_UP}{identity},"wait_seconds":{waited:.3f}}}\n'

    def ended(self, now: str, identity: str, outcome: str, seconds: float) -> str:
        return (
            f'{{"time":"{now}","level":"info","msg":"task {outcome}{identity},"outcome":"{outcome}",'
            f'"seconds":{seconds:.3f}}}\n'
        )

    def failed(self, now: str, identity: str, message: str, fields: Mapping[str, Any]) -> str:
        rest = json_fields({name: value for name, value in fields.items() if value is not None})
        said = json_fields({"msg": message})[:-1]  # its last quote is in the identity
        return f'{{"time":"{now}","level":"warning",{said}{identity}{"," if rest else ""}{rest}}}\n'

    def counted(self, now: str, message: str, count: int, where: str | None) -> str:
        fields = {"msg": message, "count": count, **({"all_in": where} if where else {})}
        return f'{{"time":"{now}","level":"info",{json_fields(fields)},{self._tail}}}\n'


def _kept(cache: dict[tuple[str, str], str], key: tuple[str, str], make: Callable[[], str]) -> str:
    if len(cache) > 10_000:
        cache.clear()
    return cache.setdefault(key, make())
