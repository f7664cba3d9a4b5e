"""Both Grafana dashboards against a real Prometheus that scrapes two engines and two workers at work."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.cluster import Cluster
from support.documents import Document, chain, fan, flow, step
from support.eventually import eventually
from support.kubernetes_metrics import kubernetes_metrics
from support.load import Load
from support.prometheus import Prometheus, prometheus
from support.slow_model import SlowModel

from workflow_engine.embedded.places import free_port

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "grafana" / "dashboards"
RULES = sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yaml"))
NAMESPACE = "agents"
SHOWN_SECONDS = 120
MEMORY = {"WORKFLOW_MEMORY_LIMIT_BYTES": str(2**31)}  # there would be none to show

ALL = {"namespace": ".*", "definition": ".*", "queue": ".*", "type": ".*"}
SPANS = {"$__rate_interval": "10s", "$__range": "60s", "$__interval": "1s"}

STILL = {
    "Broken invariants", "Dead deliveries", "Deadlocks and locks", "Denied connections", "Errors of Postgres",
    "Errors of Redis", "Lost audit rows", "Orphaned workflows", "Out of time", "Refused requests", "Restarts",
    "Rows without a partition", "Schedules", "Spans of traces", "Stale results", "Statements without a connection",
    "Taken back from workers", "Waiting for a connection",
}  # fmt: skip
"""Panels that show zero when all is well, as it is here."""

GOOD: list[Document] = [chain(2), fan(6, seconds=0.2)]
BAD: list[Document] = [
    flow("gives-up", {"id": "give-up", "type": "fail", "inputs": {"message": "as it should"}}),
    flow(
        "tries-again",
        {
            "id": "call", "type": "http", "url": "http://127.0.0.1:9/",
            "retries": {"max_attempts": 3, "initial_delay": "2s", "jitter": "none"},
        },
    ),
    flow("takes-too-long", {**step("slow", seconds=60), "timeout": "0.1s", "retries": {"max_attempts": 1}}),
]  # fmt: skip
NAMED: list[Document] = [{"name": "chain-2"}]
MODEL: list[Document] = [flow("asks", {"id": "ask", "type": "llm_inference", "prompt": "?", "model": "small"})]


@dataclass(frozen=True)
class Query:
    dashboard: str
    panel: str
    expression: str

    def with_values(self, values: Mapping[str, str]) -> str:
        """As Grafana sends it."""
        expression = self.expression
        for name, value in {**SPANS, **{f"${name}": value for name, value in values.items()}}.items():
            expression = expression.replace(name, value)
        assert "$" not in expression, expression
        return expression

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel}: {self.expression}"


def documents() -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))]


def queries(dashboard: dict[str, Any]) -> Iterator[Query]:
    """Of its panels, also those in closed rows, and of what it marks on charts."""
    for row in dashboard["panels"]:
        for panel in (row, *row.get("panels", ())):
            for target in panel.get("targets", ()):
                yield Query(dashboard["uid"], panel["title"], target["expr"])
    for mark in dashboard["annotations"]["list"]:
        yield Query(dashboard["uid"], mark["name"], mark["expr"])


def links(content: Any) -> Iterator[str]:
    """All URLs in a dashboard."""
    if isinstance(content, dict):
        yield from ([content["url"]] if isinstance(content.get("url"), str) else ())
        content = list(content.values())
    if isinstance(content, list):
        for each in content:
            yield from links(each)


def be_paused(cluster: Cluster, server: Prometheus) -> None:
    """Pause, have a start refused, and resume when that has been seen."""
    assert cluster.request("POST", "/api/v1/pause").is_success

    def seen() -> bool:
        assert cluster.request("POST", "/api/v1/workflows", json=GOOD[0]).status_code == 503
        refused = server.query('sum(rate(http_request_duration_seconds_count{status="503"}[10s])) > 0')
        return bool(refused and server.query('ALERTS{alertname="EnginePausedLong", alertstate="pending"}'))

    eventually(seen, 60)
    assert cluster.request("POST", "/api/v1/resume").is_success


def one_of_each(cluster: Cluster, gate: Path) -> None:
    """Workflows that are held by a lock, asked for an answer, paused, cancelled, retried, and that emit in vain."""
    locked = flow("locked", {**step("hold", type="gated", gate=str(gate)), "locks": ["the-one"]})
    cluster.start_many([locked, locked])
    asked = {"id": "ask", "type": "approval", "inputs": {"prompt": "May it?"}}
    paused, cancelled, _ = cluster.start_many([flow("asked", asked)] * 3)
    cluster.start_many(GOOD)  # from now on they can be started by name
    told = {"id": "tell", "type": "emit", "to": "webhook", "url": "http://127.0.0.1:9/", "inputs": {"name": "told"}}
    broken, _ = cluster.start_many([BAD[0], flow("tells", told)])
    assert cluster.request("POST", f"/api/v1/workflows/{paused}/pause").is_success
    assert cluster.request("POST", f"/api/v1/workflows/{cancelled}/cancel").is_success
    assert cluster.await_end(broken) == "failed"
    assert cluster.request("POST", f"/api/v1/workflows/{broken}/retry").is_success


@contextmanager
def busy(cluster: Cluster, directory: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes two engines, two workers and Kubernetes, while users start workflows of all kinds."""
    with ExitStack() as running:
        model = SlowModel()
        running.callback(model.close)
        ports = [free_port(), free_port()]
        cluster.env |= {"WORKFLOW_LLM_BASE_URL": model.url, "WORKER_CONCURRENCY": "4", **MEMORY}
        _, other_url = cluster.begin_engine()
        for port in ports:
            cluster.begin_worker(WORKER_METRICS_PORT=str(port))
        cluster.up(workers=0)
        jobs = {
            "workflow-engine": [url.removeprefix("http://") for url in (cluster.url, other_url)],
            "workflow-workers": [f"127.0.0.1:{port}" for port in ports],
            "kubernetes": [running.enter_context(kubernetes_metrics())],
        }
        labels = {"namespace": NAMESPACE}
        server = running.enter_context(prometheus(directory / "prometheus", jobs, rules=RULES, labels=labels))
        be_paused(cluster, server)
        one_of_each(cluster, directory / "gate")
        load = running.enter_context(Load(cluster.try_start, [*GOOD, *BAD, *NAMED, *MODEL]).running())
        load.await_accepted(4)
        yield server


@pytest.mark.timeout(400)  # two waits, each patient with a busy machine
def test_every_panel_shows_what_happens(cluster: Cluster, tmp_path: Path) -> None:
    everything = [query for document in documents() for query in queries(document)]
    with busy(cluster, tmp_path) as server:
        await_life(server, everything)
        assert_choices_offer(server)
        assert_narrowed(server, everything)
        assert_links_lead_somewhere(cluster)


def await_life(server: Prometheus, everything: list[Query]) -> None:
    """Wait until each query gave data, and each panel something above zero, but for those that stand still."""
    without_data = set(everything)
    without_life = {(query.dashboard, query.panel) for query in everything if query.panel not in STILL}

    def all_seen() -> bool:
        for query in everything:
            panel = (query.dashboard, query.panel)
            if query in without_data or panel in without_life:
                found = server.query_range(query.with_values(ALL), SHOWN_SECONDS)
                values = [value for _, series in found for value in series]
                if values:
                    without_data.discard(query)
                if any(value > 0 for value in values):
                    without_life.discard(panel)
        silent = "\n".join(map(str, sorted(without_data, key=str)))
        assert not without_data, f"no data:\n{silent}"
        assert not without_life, f"never above zero: {sorted(without_life)}"
        return True

    eventually(all_seen, SHOWN_SECONDS)


def assert_choices_offer(server: Prometheus) -> None:
    """Each list of choices has what runs."""
    expected = {"namespace": NAMESPACE, "queue": "default", "type": "count", "definition": "chain-2"}
    seen = set()
    for variable in (variable for document in documents() for variable in document["templating"]["list"]):
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            assert asked
            name = variable["name"]
            offered = server.label_values(asked[2], asked[1].replace("$namespace", ".*"))
            assert expected[name] in offered, f"{name}: {offered}"
            seen.add(name)
    assert seen == set(expected)


def assert_narrowed(server: Prometheus, everything: list[Query]) -> None:
    """A namespace where nothing runs shows nothing; this one shows what all show."""
    for query in everything:
        if "ALERTS" not in query.expression:
            found = server.query(query.with_values({**ALL, "namespace": "elsewhere"}))
            assert not any(value > 0 for _, value in found), query

            def the_same(query: Query = query) -> bool:
                """Sooner or later: between two questions something may not have answered Prometheus in time."""
                here = server.query(query.with_values({**ALL, "namespace": NAMESPACE}))
                return bool(here) == bool(server.query(query.with_values(ALL)))

            eventually(the_same, 30, message=str(query))


def assert_links_lead_somewhere(cluster: Cluster) -> None:
    """Links to the engine's own pages are pages."""
    own = {url for document in documents() for url in links(document) if url.startswith("${engine}")}
    assert own
    for url in own:
        address = url.replace("${engine}", cluster.url).replace("${__value.raw}", "chain-2")
        answer = httpx.get(address, follow_redirects=True, trust_env=False, timeout=20)
        assert answer.status_code == 200, address
