"""The alerts of deploy/prometheus, for the panel that shows when which of them fired."""

from __future__ import annotations

from pathlib import Path

import yaml

PAGES = "https://gitlab.com/blueflyio/agent-platform/workflow-engine/-/blob/main/deploy/runbooks/"
"""Each alert's page is here, under its name."""

RULES = Path(__file__).parents[1] / "prometheus" / "rules"


def names() -> list[str]:
    """Of all alerts."""
    groups = [group for file in sorted(RULES.glob("*.yaml")) for group in yaml.safe_load(file.read_text())["groups"]]
    return sorted({rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule})
