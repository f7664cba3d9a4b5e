"""One line for each transition of an attempt, at a few microseconds a line.

A worker makes thousands of transitions a second, and a line by structlog costs 20 to 30 microseconds. So these lines
are put together from parts that were rendered before, collected, and written by a thread: at once after a pause, else
every 100 ms, and at the end. Of a process that is killed the last 100 ms may be missing; the database has them.

`tasks.log` gets every line. Stdout (and `worker.log`) get at most so many a second, failures counted apart, and then
one line that says how many were left out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from workflow_engine.observability.logs import json_fields, logfmt_value
from workflow_engine.observability.output import Output
from workflow_engine.records import Claim

ORDINARY_PER_SECOND = 100
FAILURES_PER_SECOND = 1000
_FLUSH_SECONDS = 0.1
_MOST_WAITING = 50_000  # lines for a disk that hangs; then they are dropped, and counted
_MICROSECOND = 1000  # in nanoseconds

_PICKED_UP = "task picked up"


class Transitions:
    """The lines of one worker.

    Args:
        output: Where they end.
        worker: Name of the worker.
        now: The time in seconds, from any beginning.
    """

    def __init__(self, output: Output, worker: str, *, now: Callable[[], float] = time.monotonic) -> None:
        self._output = output
        self._form = _Json(worker, output.role) if output.log_format == "json" else _Logfmt(worker, output.role)
        self._ordinary = _Bound(ORDINARY_PER_SECOND, now)
        self._failures = _Bound(FAILURES_PER_SECOND, now)
        self._tells_ordinary = output.level <= logging.INFO
        self._tells_failures = output.level <= logging.WARNING
        self._second, self._prefix = 0, ""
        self._guard = threading.Lock()
        self._tasks: list[str] = []
        self._main: list[str] = []
        self._lost = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="transitions", daemon=True)
        self._thread.start()

    def picked_up(self, claim: Claim, step: str, type: str) -> str:
        """Tell that an attempt begins; returns what names it in the lines that follow."""
        identity = self._form.identity(claim, step, type)
        self._add(self._form.picked_up, identity, claim.wait_seconds)
        return identity

    def ended(self, identity: str, outcome: str, seconds: float) -> None:
        """Tell that an attempt ended without an error: succeeded, skipped, released, stopped."""
        self._add(self._form.ended, identity, outcome, seconds)

    def failed(self, identity: str, message: str, outcome: str, seconds: float, fields: Mapping[str, Any]) -> None:
        """Tell that an attempt ended with an error; `message` is the line's."""
        described = {"outcome": outcome, "seconds": round(seconds, 3), **fields}
        self._add(self._form.failed, identity, message, described, failure=True)

    def close(self) -> None:
        """Write what is left and end the thread."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout=5)
        self._flush(last=True)

    def _add(self, render: Callable[..., str], *parts: Any, failure: bool = False) -> None:
        told, bound = (self._tells_failures, self._failures) if failure else (self._tells_ordinary, self._ordinary)
        with self._guard:
            to_main = told and bound.admits()
            to_tasks = self._output.has_tasks_file
            if to_main or to_tasks:  # else the line is counted, and never put together
                line = render(self._now(), *parts)
                if to_main:
                    self._main.append(line)
                if to_tasks and len(self._tasks) < _MOST_WAITING:
                    self._tasks.append(line)
                elif to_tasks:
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
        with self._guard:
            tasks, self._tasks = self._tasks, []
            main, self._main = self._main, []
            lost, self._lost = self._lost, 0
            left_out = self._ordinary.take_left_out(last) + self._failures.take_left_out(last)
        if left_out:
            where = "tasks.log" if self._output.has_tasks_file else None
            main.append(self._form.counted(self._now(), "task lines left out", left_out, where))
        if lost:
            main.append(self._form.counted(self._now(), "task lines lost, writing them hangs", lost, None))
        if main:
            self._output.write("".join(main))
        if tasks:
            self._output.write_tasks("".join(tasks))

    def _now(self) -> str:
        nanoseconds = time.time_ns()
        second, rest = divmod(nanoseconds, 1_000_000_000)
        if second != self._second:
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._prefix}.{rest // _MICROSECOND:06d}Z"


class _Bound:
    """At most so many a second, and how many were refused. Guarded by its user."""

    def __init__(self, per_second: int, now: Callable[[], float]) -> None:
        self._per_second = per_second
        self._now = now
        self._ends = 0.0
        self._left = 0
        self.left_out = 0

    def admits(self) -> bool:
        if self._left > 0 and self._now() < self._ends:
            self._left -= 1
            return True
        now = self._now()
        if now < self._ends or self.left_out:  # what was left out is told first, by the next flush after the second
            self.left_out += 1
            return False
        self._ends, self._left = now + 1.0, self._per_second - 1
        return True

    def take_left_out(self, last: bool) -> int:
        if not self.left_out or (self._now() < self._ends and not last):
            return 0
        count, self.left_out = self.left_out, 0
        return count


class _Logfmt:
    def __init__(self, worker: str, role: str) -> None:
        self._tail = f"worker={logfmt_value(worker)} role={role}"
        self._role = role
        self._steps: dict[tuple[str, str], str] = {}
        self._picked_up = logfmt_value(_PICKED_UP)

    def identity(self, claim: Claim, step: str, type: str) -> str:
        part = self._steps.get((step, type)) or _kept(
            self._steps, (step, type), lambda: f"step={logfmt_value(step)} type={logfmt_value(type)}"
        )
        ids = f"workflow_id={claim.workflow_id} task_id={claim.task_id}"
        return f"{ids} {part} attempt={claim.attempt} {self._tail}"

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

    def identity(self, claim: Claim, step: str, type: str) -> str:
        part = self._steps.get((step, type)) or _kept(
            self._steps, (step, type), lambda: json_fields({"step": step, "type": type})
        )
        # It begins inside the message, which repeats the pair.
        workflow_id = claim.workflow_id
        ids = f'workflow_id={workflow_id}","workflow_id":"{workflow_id}","task_id":{claim.task_id}'
        return f' {ids},{part},"attempt":{claim.attempt},{self._tail}'

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
