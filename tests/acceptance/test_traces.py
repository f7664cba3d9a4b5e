"""A trace as a collector gets it from real engines and workers."""

import signal

import httpx
from support.cluster import TAKEOVER_SECONDS, Cluster
from support.collector import Collector
from support.documents import flow, step
from support.eventually import eventually

from workflow_engine.observability import span_names as names

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_trace_is_whole_though_a_worker_dies_in_it(cluster: Cluster) -> None:
    with Collector() as collector:
        cluster.up(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="100")
        document = flow("killed", step("a", type="signals-itself", signal="SIGKILL"), step("b", "a"))
        headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
        answer = httpx.post(f"{cluster.url}/api/v1/workflows", json=document, headers=headers, trust_env=False)
        workflow = answer.json()["id"]
        eventually(lambda: cluster.ledger.ends("a"))
        survivor = cluster.worker(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="600000")
        assert cluster.await_end(workflow, TAKEOVER_SECONDS) == "succeeded"
        eventually(lambda: any(span.name == "killed" for span in collector.spans))
        survivor.send(signal.SIGTERM)
        assert survivor.wait(30) == 0, "what is left is sent at the end of a process"

        shown = httpx.get(f"{cluster.url}/api/v1/workflows/{workflow}/trace", trust_env=False).json()
        found = {span.span_id: span for span in collector.of(TRACE)}

    root = found.pop(names.root_span_id(workflow))
    assert (root.parent_id, root.service, root.status) == (SPAN, "workflow-engine", "OK")
    assert {id: span.attributes["workflow.attempt.outcome"] for id, span in found.items()} == {
        span["span_id"]: span["status"] for span in shown
    }
    services = {(s["step"], s["attempt"]): found[s["span_id"]].service for s in shown}
    assert services == {("a", 1): "workflow-engine", ("a", 2): "workflow-workers", ("b", 1): "workflow-workers"}


def test_what_has_just_ended_has_its_span_when_the_only_engine_stops(cluster: Cluster) -> None:
    with Collector() as collector:
        cluster.up(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="600000")
        workflow = cluster.start(flow("quick", step("a")))
        assert cluster.await_end(workflow, TAKEOVER_SECONDS) == "succeeded"
        cluster.engine.send(signal.SIGTERM)
        assert cluster.engine.wait(30) == 0
    assert [span.span_id for span in collector.spans if span.name == "quick"] == [names.root_span_id(workflow)]
