"""docs/metrics.md names exactly the metrics of the code."""

import re
from pathlib import Path

from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from workflow_engine.observability import metrics
from workflow_engine.observability.gauges import DatabaseGauges

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


def test_every_metric_is_documented_with_its_kind() -> None:
    ours = [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]
    suffix = {"counter": "_total", "info": "_info"}
    exported = {
        family.name + suffix.get(family.type, ""): family.type for metric in ours for family in metric.collect()
    }
    exported |= {family.name: family.type for family in DatabaseGauges().describe()}
    documented = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", PAGE, re.MULTILINE))
    assert documented == exported


def test_every_metric_is_registered_once() -> None:
    names = [family.name for family in REGISTRY.collect()]
    assert len(names) == len(set(names))
