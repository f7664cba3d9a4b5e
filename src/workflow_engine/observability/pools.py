"""How the connections to Postgres of this process are used: whether statements wait for one shows here first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from weakref import WeakSet

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class WatchedPool:
    """What is asked of a pool; kept by its owner, and forgotten with it.

    Args:
        stats: As of `psycopg_pool`.
    """

    def __init__(self, stats: Callable[[], Mapping[str, int]]) -> None:
        self.stats = stats
        _pools.watched.add(self)


class _Pools(Collector):
    """All of them together: which of its few pools a process uses for what is its own affair."""

    def __init__(self) -> None:
        self.watched: WeakSet[WatchedPool] = WeakSet()

    def collect(self) -> Iterator[Metric]:
        total = dict.fromkeys(
            ("pool_max", "pool_size", "pool_available", "requests_waiting", "requests_wait_ms", "requests_errors"), 0
        )
        for pool in self.watched:
            stats = pool.stats()
            total = {key: count + stats.get(key, 0) for key, count in total.items()}
        connections = GaugeMetricFamily(
            "workflow_postgres_pool_connections", "Connections to Postgres, by state", labels=["state"]
        )
        connections.add_metric(["used"], max(0, total["pool_size"] - total["pool_available"]))
        connections.add_metric(["idle"], total["pool_available"])
        yield connections
        yield GaugeMetricFamily(
            "workflow_postgres_pool_connections_max", "Connections to Postgres there may be", total["pool_max"]
        )
        yield GaugeMetricFamily(
            "workflow_postgres_pool_waiting", "Statements that wait for a connection", total["requests_waiting"]
        )
        yield CounterMetricFamily(
            "workflow_postgres_pool_wait_seconds_total",
            "Time that statements have waited for a connection",
            total["requests_wait_ms"] / 1000,
        )
        yield CounterMetricFamily(
            "workflow_postgres_pool_timeouts_total",
            "Statements that got no connection in time",
            total["requests_errors"],
        )


_pools = _Pools()
REGISTRY.register(_pools)
