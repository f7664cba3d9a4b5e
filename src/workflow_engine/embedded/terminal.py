"""What `dev` says when it is ready."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_MAKE_KEY = "\n  export WORKFLOW_TOKEN=$(DATABASE_URL='{}' workflow-engine token create --role admin --name me)"
_SHOW_KEY = '-H "Authorization: Bearer $WORKFLOW_TOKEN" '


def create_workflow_body(url: str) -> dict[str, Any]:
    """The body of the runbook's "Create Workflow", with a real URL in the place of its dots."""
    return {
        "name": "data-pipeline",
        "steps": [
            {"id": "fetch", "type": "http", "url": url},
            {"id": "process", "type": "agent", "agent": "processor", "depends_on": ["fetch"]},
            {"id": "store", "type": "database", "depends_on": ["process"]},
        ],
    }


def announce(facts: Mapping[str, Any], *, needs_keys: bool = False) -> None:
    """Print where everything is, and a first command to try; `needs_keys` says that it takes a key."""
    standins = facts["standins"]
    make_key = _MAKE_KEY.format(facts["database_url"]) if needs_keys else ""
    show_key = _SHOW_KEY if needs_keys else ""
    body = create_workflow_body(f"{standins['echo']}/orders").items()
    sample = "{\n" + ",\n".join(f"    {json.dumps(key)}: {_compact(value)}" for key, value in body) + "\n  }"
    print(
        f"""workflow-engine is ready. Ctrl-C stops everything.

  API          {facts["url"]}/api/v1      docs: {facts["url"]}/docs
  dashboard    {facts["url"]}/admin
  PostgreSQL   {facts["database_url"]}
  Valkey       {facts["redis_url"]}
  stand-ins    Agent Mesh {standins["agent_mesh"]}, Agent Brain {standins["agent_brain"]},
               model {standins["llm"]}, echo {standins["echo"]}
  logs         {facts["logs"]}

Try:{make_key}
  curl -X POST {facts["url"]}/api/v1/workflows {show_key}-H "Content-Type: application/json" -d '{sample}'
""",
        flush=True,
    )


def _compact(value: Any) -> str:
    if isinstance(value, list):
        return "[\n" + ",\n".join(f"      {json.dumps(item)}" for item in value) + "\n    ]"
    return json.dumps(value)
