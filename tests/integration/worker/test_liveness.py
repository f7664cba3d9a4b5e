"""The probe of a worker: it tells a standstill, and takes nothing else for one."""

import asyncio
import threading
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import Gauge
from support.eventually import eventually

from workflow_engine.embedded.places import free_port
from workflow_engine.observability.logs import get_logger
from workflow_engine.observability.loop_lag import LoopLag
from workflow_engine.worker.leases import LeaseKeeper
from workflow_engine.worker.liveness import Liveness
from workflow_engine.worker.metrics_server import serve_metrics


@pytest.fixture
def liveness() -> Liveness:
    return Liveness()


@pytest.fixture
def probe(liveness: Liveness) -> Iterator[httpx.Client]:
    """Whoever probes the port of a worker."""
    port = free_port()
    serve_metrics("127.0.0.1", port, liveness=liveness, limit=None, profiler=None)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield client


def test_a_worker_that_moves_is_alive(liveness: Liveness, probe: httpx.Client) -> None:
    liveness.beat("event loop", within=60)

    answer = probe.get("/livez")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer.headers["cache-control"] == "no-store"
    assert "workflow_worker_concurrency" in probe.get("/metrics").text, "metrics are where they were"


def test_an_event_loop_that_stands_still_is_told(liveness: Liveness, probe: httpx.Client) -> None:
    go_on = threading.Event()

    async def blocked() -> None:
        lag = LoopLag(Gauge("lag", "Of this loop", registry=None))
        liveness.watch_loop(lag, within=0.05)
        watch = asyncio.create_task(lag.run())
        await asyncio.sleep(0)
        go_on.wait(30)  # as a handler would that computes in the loop
        watch.cancel()
        await asyncio.wait([watch])

    thread = threading.Thread(target=lambda: asyncio.run(blocked()))
    thread.start()
    eventually(lambda: probe.get("/livez").status_code == 503)
    answer = probe.get("/livez")
    go_on.set()
    thread.join()

    assert answer.json()["status"] == "stuck"
    assert answer.json()["detail"].startswith("The event loop has stood still for ")
    assert probe.get("/livez").status_code == 200, "a loop that has ended does not stand still"


def test_a_heartbeat_that_does_not_reach_postgres_goes_on_and_is_alive(liveness: Liveness) -> None:
    rounds = 0

    def held() -> dict[str, int]:
        return {}

    class Rounds(Liveness):
        def beat(self, part: str, within: float) -> None:
            nonlocal rounds
            rounds += 1
            assert part == "heartbeat"
            liveness.beat(part, within)

        def forget(self, part: str) -> None:
            liveness.forget(part)

    keeper = LeaseKeeper(
        "postgresql://nobody@127.0.0.1:1/none",
        worker_id=1,
        lease_seconds=1,
        heartbeat_seconds=0.01,
        held=held,
        on_lost=lambda _tokens: None,
        on_retired=lambda: None,
        liveness=Rounds(),
        log=get_logger("test"),
    )
    keeper.start()
    eventually(lambda: rounds > 3)

    assert liveness.problem() is None
    keeper.stop()
    liveness.beat("event loop", within=60)
    assert liveness.problem() is None


def test_each_part_that_stands_still_is_named(liveness: Liveness) -> None:
    liveness.beat("heartbeat", within=-1)
    liveness.beat("event loop", within=-1)

    said = liveness.problem()

    assert said is not None
    assert said.count("has stood still for") == 2
    assert said.index("event loop") < said.index("heartbeat")
