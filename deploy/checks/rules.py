"""The alert rules as the Prometheus Operator takes them: `python -m deploy.checks.rules` writes them anew.

They are those of `deploy/prometheus/rules`, group by group: kustomize cannot put one file into another.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from deploy.checks.tools import ROOT

_RULES = "deploy/prometheus/rules"
_OBJECT = "deploy/kustomize/components/monitoring/rules.yaml"
_HEADER = f"# Made from {_RULES} by `python -m deploy.checks.rules`.\n"


def operator_rules(root: Path) -> str:
    """The text of the PrometheusRule."""
    groups = [
        group for file in sorted((root / _RULES).glob("*.yaml")) for group in yaml.safe_load(file.read_text())["groups"]
    ]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "workflow-engine", "labels": {"app": "workflow-engine"}},
        "spec": {"groups": groups},
    }
    return _HEADER + yaml.safe_dump(rule, sort_keys=False, width=120, allow_unicode=True)


def problems_of_rules(root: Path) -> Iterator[str]:
    """Whether the PrometheusRule has other rules than `deploy/prometheus`."""
    if (root / _OBJECT).read_text() != operator_rules(root):
        yield f"{_OBJECT} has other rules than {_RULES}: run python -m deploy.checks.rules"


if __name__ == "__main__":
    (ROOT / _OBJECT).write_text(operator_rules(ROOT))
