"""Threads for what blocks, such as sync handlers: bounded, reused, never in the way of a process that wants to end."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Call:
    function: Callable[[], Any]
    result: Future[Any]


class Threads:
    """Runs blocking functions for an event loop.

    `concurrent.futures.ThreadPoolExecutor` would do, but for two things: its threads are joined when the interpreter
    ends, so one hung handler keeps a drained worker alive for ever; and a call nobody waits for any more goes on
    occupying one of its places. Here threads are daemons, and a call whose caller was cancelled gives its place to
    the next one.

    Args:
        limit: Threads for calls that somebody waits for; further calls queue. Up to as many more may be busy with
            abandoned calls; beyond that, new calls wait until one of those ends.
        name: Of each thread, for whoever looks at the process.
    """

    def __init__(self, limit: int, *, name: str = "workflow-handler") -> None:
        self._limit = limit
        self._name = name
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0  # threads without a call, minus calls without a thread
        self._abandoned = 0
        self._closed = False

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function in a thread, with the caller's context variables.

        Cancelling the caller does not stop a function that has begun: Python cannot. It goes on alone and its result
        is dropped; a function that had not begun is never called.

        Raises:
            Whatever the function raises. A `StopIteration` becomes a `RuntimeError`, as in a coroutine.
        """
        call = _Call(partial(contextvars.copy_context().run, function, *args), Future())
        self._submit(call)
        try:
            result: T = await asyncio.wrap_future(call.result)
        except asyncio.CancelledError:
            if call.result.running():
                self._abandon(call.result)
            raise
        return result

    def close(self) -> None:
        """Let idle threads end. Those at work end after their call; nobody waits for them."""
        with self._lock:
            self._closed = True
            for _ in range(self._threads):
                self._calls.put(None)

    def _submit(self, call: _Call) -> None:
        with self._lock:
            if self._closed:
                raise RuntimeError("these threads were closed")
            self._start_thread(unless_idle=1)
            self._idle -= 1
            self._calls.put(call)

    def _abandon(self, result: Future[Any]) -> None:
        with self._lock:
            self._abandoned += 1
            self._start_thread(unless_idle=0)
        result.add_done_callback(self._returned)

    def _returned(self, _: Future[Any]) -> None:
        with self._lock:
            self._abandoned -= 1

    def _start_thread(self, *, unless_idle: int) -> None:
        if self._idle < unless_idle and self._threads < self._limit + min(self._abandoned, self._limit):
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
            self._threads += 1
            self._idle += 1

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            if call.result.set_running_or_notify_cancel():
                try:
                    call.result.set_result(call.function())
                except StopIteration as error:
                    # An asyncio future refuses StopIteration, and its waiter would wait for ever.
                    call.result.set_exception(RuntimeError(f"the function raised StopIteration: {error}"))
                except BaseException as error:
                    call.result.set_exception(error)
            with self._lock:
                self._idle += 1
            del call
