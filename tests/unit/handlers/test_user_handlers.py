"""How functions of users run: on the loop or in threads, cancelled, hung, or misbehaving."""

import asyncio
import contextvars
import functools
import sys
import threading

import pytest
from support.eventually import eventually_async

from workflow_engine import TaskError, handler
from workflow_engine.handlers.registry import Registry
from workflow_engine.testing import task_context

THREADS = 2


@pytest.fixture
def registry():
    registry = Registry(threads=THREADS)
    yield registry
    registry.close()


@pytest.fixture
def run(registry):
    """Registers a function and returns its handle."""

    def run(function, type="mine"):
        registry.add(handler(type)(function))
        return registry.get(type).handle

    return run


@pytest.fixture
def gate():
    """Blocks sync handlers until the test ends or opens it."""
    gate = threading.Event()
    yield gate
    gate.set()


async def test_an_async_function_runs_on_the_loop(run):
    async def mine(inputs, ctx):
        return [inputs["n"], ctx.step, threading.current_thread() is threading.main_thread()]

    assert await run(mine)({"n": 1}, task_context()) == [1, "fetch", True]


async def test_a_sync_function_runs_in_a_thread_with_the_context_variables(run):
    request = contextvars.ContextVar("request")
    request.set("r-1")

    def mine(inputs, ctx):
        return [inputs["n"], request.get(), threading.current_thread() is threading.main_thread()]

    assert await run(mine)({"n": 1}, task_context()) == [1, "r-1", False]


async def test_an_async_function_behind_a_plain_decorator_is_awaited(run):
    async def mine(inputs, ctx):
        return "awaited"

    @functools.wraps(mine)
    def wrapper(inputs, ctx):
        return mine(inputs, ctx)

    wrapper.__dict__.pop("__wrapped__")
    assert await run(wrapper)({}, task_context()) == "awaited"


@pytest.mark.parametrize("error", [TaskError("user.mine", "No", retryable=False), ValueError("no"), KeyError("k")])
async def test_what_a_sync_function_raises_arrives_unchanged(run, error):
    def mine(inputs, ctx):
        raise error

    with pytest.raises(type(error)) as caught:
        await run(mine)({}, task_context())
    assert caught.value is error


async def test_stop_iteration_does_not_hang_the_attempt(run):
    def mine(inputs, ctx):
        return next(iter([]))

    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(run(mine)({}, task_context()), 10)


async def test_sys_exit_ends_the_attempt_and_not_the_worker(run):
    async def leaves(inputs, ctx):
        sys.exit(3)

    def leaves_too(inputs, ctx):
        sys.exit("out of memory")

    for function, type in ((leaves, "a"), (leaves_too, "b")):
        with pytest.raises(TaskError) as caught:
            await run(function, type)({}, task_context())
        assert caught.value.type == "user.SystemExit"
        assert caught.value.retryable


async def test_a_leaked_cancellation_is_an_error_and_not_a_cancellation(run):
    async def mine(inputs, ctx):
        raise asyncio.CancelledError

    with pytest.raises(TaskError, match="from inside"):
        await run(mine)({}, task_context())


async def test_an_async_function_is_cancelled(run):
    started, ended = asyncio.Event(), []

    async def mine(inputs, ctx):
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cleaned up")

    attempt = asyncio.create_task(run(mine)({}, task_context()))
    await started.wait()
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert ended == ["cleaned up"]


async def test_a_sync_function_learns_that_nobody_waits(run):
    started, ended = threading.Event(), threading.Event()

    def mine(inputs, ctx):
        started.set()
        if ctx.cancelled.wait(30):
            ended.set()

    attempt = asyncio.create_task(run(mine)({}, task_context()))
    await asyncio.to_thread(started.wait, 10)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert await asyncio.to_thread(ended.wait, 10)


async def test_hung_functions_do_not_starve_the_next_ones(run, gate):
    started = threading.Semaphore(0)

    def hangs(inputs, ctx):
        started.release()
        gate.wait(60)

    handle = run(hangs)
    hung = [asyncio.create_task(handle({}, task_context())) for _ in range(THREADS)]
    for _ in hung:
        await asyncio.to_thread(started.acquire)
    for attempt in hung:
        attempt.cancel()
    await asyncio.gather(*hung, return_exceptions=True)

    assert await asyncio.wait_for(run(lambda inputs, ctx: "served", "next")({}, task_context()), 10) == "served"


async def test_threads_are_bounded_even_when_everything_hangs(run, gate):
    before = set(threading.enumerate())
    running = []

    def hangs(inputs, ctx):
        running.append(1)
        gate.wait(60)

    async def all_running(count):
        return len(running) == count

    handle = run(hangs)
    for wave in (1, 2):
        attempts = [asyncio.create_task(handle({}, task_context())) for _ in range(THREADS)]
        await eventually_async(functools.partial(all_running, wave * THREADS))
        for attempt in attempts:
            attempt.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)

    late = asyncio.create_task(run(lambda inputs, ctx: "served", "next")({}, task_context()))
    await asyncio.sleep(0)
    assert len(set(threading.enumerate()) - before) == 2 * THREADS
    gate.set()
    assert await asyncio.wait_for(late, 10) == "served"


async def test_a_call_that_waits_for_a_thread_and_is_cancelled_never_begins(run, gate):
    started, begun = threading.Semaphore(0), []

    def hangs(inputs, ctx):
        started.release()
        gate.wait(60)

    handle = run(hangs)
    busy = [asyncio.create_task(handle({}, task_context())) for _ in range(THREADS)]
    for _ in busy:
        await asyncio.to_thread(started.acquire)
    late = asyncio.create_task(run(lambda inputs, ctx: begun.append(1), "late")({}, task_context()))
    await asyncio.sleep(0)
    late.cancel()
    with pytest.raises(asyncio.CancelledError):
        await late
    gate.set()
    await asyncio.gather(*busy)
    assert await run(lambda inputs, ctx: "served", "next")({}, task_context()) == "served"
    assert begun == []
