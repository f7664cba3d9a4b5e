"""What kube-state-metrics and cAdvisor export of two workers, as they document it: a stand-in, where no cluster is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

PODS = ("workflow-workers-6f7c9d-abcde", "workflow-workers-6f7c9d-fghij")
_AUTOSCALER = "keda-hpa-workflow-workers-scaler"


@contextmanager
def kubernetes_metrics() -> Iterator[str]:
    """Serves them; gives `host:port`."""
    registry = CollectorRegistry()

    def gauge(name: str, value: float, **labels: str) -> None:
        if name not in gauges:
            gauges[name] = Gauge(name, name, list(labels), registry=registry)
        gauges[name].labels(**labels).set(value)

    gauges: dict[str, Gauge] = {}
    gauge("kube_deployment_status_replicas_available", 2, deployment="workflow-workers")
    for name, value in (("status_desired", 3), ("spec_min", 2), ("spec_max", 20)):
        gauge(f"kube_horizontalpodautoscaler_{name}_replicas", value, horizontalpodautoscaler=_AUTOSCALER)
    cpu = Counter("container_cpu_usage_seconds", "-", ["pod", "container"], registry=registry)
    restarts = Counter("kube_pod_container_status_restarts", "-", ["pod", "container"], registry=registry)
    started = time.monotonic()
    for pod in PODS:
        of = {"pod": pod, "container": "worker"}
        gauge("container_memory_working_set_bytes", 300e6, **of)
        gauge("kube_pod_container_resource_requests", 0.25, resource="cpu", **of)
        gauge("kube_pod_container_resource_limits", 1e9, resource="memory", **of)
        gauge("kube_pod_container_status_last_terminated_reason", 1, reason="OOMKilled", **of)
        restarts.labels(**of).inc()
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.2):
            for pod in PODS:
                cpu.labels(pod, "worker").inc(0.02)
            if time.monotonic() - started > 3:
                restarts.labels(PODS[0], "worker").inc(0.1)

    server: WSGIServer
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        stop.set()
        worker.join()
        server.shutdown()
        server.server_close()
        thread.join()
