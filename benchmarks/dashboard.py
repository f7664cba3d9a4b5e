"""Looking at what is there: each page and each list of the API over a million workflows, also with filters that few
meet; workflows of 2,000 tasks; and what those who have pages open cost the engine.

One engine process with default settings, which leads. It is asked for one page or list after the other.
"""

from __future__ import annotations

import asyncio
import http.client
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Event

import psutil
import psycopg

from benchmarks.million import fill
from benchmarks.profiles import Profile
from benchmarks.report import Figure, Row, Table
from benchmarks.server import Server, engine, metrics_ports, workers
from benchmarks.steady import SteadyLoad
from workflow_engine.dashboard.pages import PAGES, definition_tabs
from workflow_engine.dashboard.pages.workflow_tabs import TABS

_GOAL_MS = 300.0
_LARGE_GOAL_MS = 1000.0
_VIEWER_GOAL = 1.0  # percent of a core
_REPETITIONS = 20
_VIEWERS = (1, 10, 50)
_STEPS_PER_SECOND = 100.0
_WATCH_SECONDS = 12.0
_WATCH_ROUNDS = 3
_WATCHED = ("/admin/workflows", "/admin")
_API = "/api/v1"

# Filters that are met by many, by few, and by none; and by those alone that come last in whatever order is walked.
_FILTERS = (
    "", "status=failed", "status=running", "status=pending,running", "status=cancelled", "status=succeeded",
    "status=failed,cancelled", "since=24h", "since=1h", "until=2020-01-01T00:00:00Z", "name=order-fulfilment",
    "name=yearly-audit", "name=nobody", "name=yearly-audit&status=failed", "name=legacy-sync&status=failed",
    "name=newsletter&status=cancelled", "label.team=data", "label.customer=c-17", "label.customer=nobody",
    "label.region=eu&status=failed", "name=year*", "min_duration=24h", "min_duration=10m&status=failed",
    "min_duration=10h&sort=longest", "sort=longest", "sort=oldest", "sort=oldest&name=nobody",
    "name=order-fulfilment&since=7d&status=failed&label.team=data", "name=order-fulfilment&version=1&status=failed",
)  # fmt: skip
_ONES = (
    "/admin/definitions/order-fulfilment", "/admin/definitions/order-fulfilment?tab=diff",
    "/admin/definitions/large-graph?tab=graph", "/admin/definitions/large-graph?tab=document",
    "/admin/definitions/refund?tab=start", "/admin/queues/default", "/admin/queues/gpu", "/admin/task-types/http",
    "/admin/approvals?status=answered", "/admin/outbox?status=delivered",
)  # fmt: skip
_ASKED = (
    "operation=workflows_cancel", "operation=engine_pause", "principal=shop", "principal=eve", "principal=nobody",
    "principal=ann&operation=engine_pause", "principal=shop&operation=engine_pause",
    "principal=eve&operation=engine_pause", "principal=shop&operation=definitions_delete", "status=403&since=7d",
    "principal=bob&status=403",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """Something that is looked at: what it is, and where."""

    label: str
    path: str
    goal_ms: float = _GOAL_MS


def measure(server: Server, profile: Profile) -> list[Table]:
    with ExitStack() as stack:
        url = stack.enter_context(server.engine_database())
        fill(url, profile.looked_at)
        port, pid = stack.enter_context(engine(url))
        looks = [*pages(url), *lists(url)]
        tables = [
            Table(f"{title} over {profile.looked_at:,} workflows: milliseconds, median and range; p95", rows)
            for title, rows in (
                ("Pages", look_at(port, [look for look in looks if look.path.startswith("/admin")])),
                ("Lists of the API", look_at(port, [look for look in looks if look.path.startswith(_API)])),
            )
        ]
        ports = metrics_ports(2)
        stack.enter_context(workers(url, processes=2, concurrency=50, ports=ports))
        tables.append(
            Table(
                f"Who watches, beside {_STEPS_PER_SECOND:g} steps/s: processor time of the engine",
                asyncio.run(_watched(url, port, pid, ports)),
            )
        )
    return tables


def pages(url: str) -> Iterator[Look]:
    """All pages, those of the workflows with all filters; and all tabs of workflows of each kind."""
    for page in PAGES:
        if "{" not in page.path:
            yield Look(page.path, page.path)
    for path in _ONES:
        yield Look(path, path)
    for query in _FILTERS[1:]:
        yield Look(f"workflows ?{query}", f"/admin/workflows?{query}")
    for query in _ASKED:
        yield Look(f"audit ?{query}", f"/admin/audit?{query}")
    for kind, id_ in _examples(url).items():
        goal = _LARGE_GOAL_MS if kind.startswith("large") else _GOAL_MS
        for tab in TABS:
            yield Look(f"{kind}: {tab.key}", f"/admin/workflows/{id_}?tab={tab.key}", goal)
    for name, goal in (("order-fulfilment", _GOAL_MS), ("large-graph", _LARGE_GOAL_MS)):
        for each in definition_tabs.TABS:
            yield Look(f"{name}: {each.key}", f"/admin/definitions/{name}?tab={each.key}", goal)


def lists(url: str) -> Iterator[Look]:
    """All lists of the API, those of workflows with all filters; and what there is to read of large workflows."""
    for query in _FILTERS:
        yield Look(f"workflows ?{query}", f"{_API}/workflows?{query}")
    for path in (
        "workflows/running", "workflows/orphaned", "workflows/versions", "definitions",
        "definitions/order-fulfilment/versions", "task-types", "tasks/stats", "tasks/stats?window=24h", "tasks/slow",
        "tasks/slow?window=7d&type=http", "workers", "workers/dead", "approvals", "approvals?status=answered", "outbox",
        "schedules", "locks", "autoscaling/load", "health", "audit", *(f"audit?{query}" for query in _ASKED),
    ):  # fmt: skip
        # One is never cut short, however many run.
        yield Look(path, f"{_API}/{path}", _LARGE_GOAL_MS if path == "workflows/running" else _GOAL_MS)
    for kind, id_ in _examples(url).items():
        goal = _LARGE_GOAL_MS if kind.startswith("large") else _GOAL_MS
        for part in ("", "/tasks", "/dag", "/logs", "/why", "/signals"):
            yield Look(f"{kind}{part}", f"{_API}/workflows/{id_}{part}", goal)


def _examples(url: str) -> dict[str, str]:
    """A workflow of each kind, by what it is."""
    chosen = {
        "ended": "name = 'order-fulfilment' and status = 'succeeded'",
        "failed": "name = 'order-fulfilment' and status = 'failed'",
        "waiting": "name = 'user-onboarding' and status = 'running'",
        "in line": "name = 'ledger-close' and finished_at is null",
        "large graph": "name = 'large-graph'",
        "large map": "name = 'large-map'",
        "large and done": "name = 'large-and-done'",
    }
    with psycopg.connect(url, autocommit=True) as connection:
        found = {}
        for kind, condition in chosen.items():
            query = f"select id::text from workflow.workflows where {condition} order by id desc limit 1"
            row = connection.execute(query.encode()).fetchone()
            assert row is not None, kind
            found[kind] = str(row[0])
        return found


def look_at(port: int, looks: Sequence[Look], repetitions: int = _REPETITIONS) -> list[Row]:
    """Ask for each of them, one after the other; all once before, so that plans are made and caches warm."""
    figures = {look: Figure(look.label, "ms") for look in looks}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for repetition in range(repetitions + 1):
        for look, figure in figures.items():
            begin = time.perf_counter()
            connection.request("GET", look.path)
            answer = connection.getresponse()
            answer.read()
            took = (time.perf_counter() - begin) * 1000
            if answer.status != 200:
                figure.name = f"{look.label} ({answer.status})"
            if repetition:
                figure.values.append(took)
    connection.close()
    rows = []
    for look, figure in figures.items():
        p95 = figure.percentile(0.95)
        rows.append(Row(figure, (("p95", p95),), goal=f"p95 <= {look.goal_ms:g} ms", met=p95 <= look.goal_ms))
    return rows


@dataclass
class _Viewer:
    """Somebody who has a page open, as its script has: it hears of changes, and looks again as often as it may."""

    port: int
    path: str
    over: Event
    looks: int = 0
    _heard: Event = field(default_factory=Event)

    def watch(self) -> None:
        share, around, least, most = 0.006, 0.002, 0.25, 5.0  # as in dashboard/static/live.js
        with ThreadPoolExecutor(1) as listener:
            while not self.over.is_set():
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                connection.request("GET", self.path, headers={"Accept": "text/html"})
                answer = connection.getresponse()
                page = answer.read().decode()
                connection.close()
                stream = re.search(r'data-stream="([^"]+)"', page)
                if not self.looks and stream is not None:  # else it is the page of an error, and asked for again
                    listener.submit(self._listen, stream[1].replace("&amp;", "&"))
                self.looks += stream is not None
                cost = re.search(r"dur=([\d.]+)", answer.headers.get("Server-Timing", ""))
                gap = min(most, max(least, (float(cost[1]) / 1000 + around) / share if cost else most))
                self.over.wait(gap)
                self._heard.wait(most)
                self._heard.clear()
            self._heard.set()

    def _listen(self, stream: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", f"/{stream.lstrip('./')}", headers={"Accept": "text/event-stream"})
        answer = connection.getresponse()
        while not self.over.is_set():
            line = answer.readline()
            if line.startswith(b"data:"):
                self._heard.set()
            elif not line:
                return
        connection.close()


async def _watched(url: str, port: int, pid: int, ports: Sequence[int]) -> list[Row]:
    """The engine beside a steady load: alone, and with those who have the overview or the list of workflows open. In
    rounds, as what a leader does comes and goes."""
    process = psutil.Process(pid)
    alone = Figure("nobody watches: engine", "% of a core")
    each = {viewers: Figure(f"{viewers} watch: each of them", "% of a core") for viewers in _VIEWERS}
    async with SteadyLoad(url, ports) as load:
        for _ in range(_WATCH_ROUNDS):
            alone.values.append(await _share(load, process, []))
            for viewers, figure in each.items():
                over = Event()
                watching = [_Viewer(port, _WATCHED[n % len(_WATCHED)], over) for n in range(viewers)]
                with ThreadPoolExecutor(viewers) as threads:
                    running = [threads.submit(viewer.watch) for viewer in watching]
                    share = await _share(load, process, watching)
                    over.set()
                    for one in running:
                        one.result()
                figure.values.append((share - alone.values[-1]) / viewers)
    goal = f"<= {_VIEWER_GOAL:g} %"
    rows = [Row(figure, goal=goal, met=figure.median <= _VIEWER_GOAL) for figure in each.values()]
    return [Row(alone), *rows]


async def _share(load: SteadyLoad, process: psutil.Process, watching: Sequence[_Viewer]) -> float:
    """Processor time of the engine in percent of a core, once all viewers are there."""
    await load.at_rate(_STEPS_PER_SECOND, 3.0)
    before, begun = _cpu(process), time.monotonic()
    await load.at_rate(_STEPS_PER_SECOND, _WATCH_SECONDS)
    assert all(viewer.looks for viewer in watching)
    return (_cpu(process) - before) / (time.monotonic() - begun) * 100


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
