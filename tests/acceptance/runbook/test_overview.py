"""The runbook's overview and dependencies: rows A01 to A04."""

import pytest
from support.eventually import eventually
from support.stack import Stack, shape

from workflow_engine.settings import Settings, load_settings


def test_a01_both_health_endpoints_answer_the_same_on_every_engine_and_soon(stack: Stack) -> None:
    def healthy() -> dict[str, object]:
        health = stack.curl("curl http://localhost:3003/health")
        assert health["status"] == "ok", health
        return dict(health)

    health = eventually(healthy, 30)
    assert {"status", "version", "accepting", "checks"} <= health.keys()
    assert health["checks"].keys() == {"postgres", "redis", "workers", "agent_mesh", "agent_brain"}  # type: ignore[attr-defined]
    assert shape(stack.curl("curl http://localhost:3003/api/v1/health")) == shape(health)
    # The best of some: the machine of a test is busy.
    timed = "curl -s -o /dev/null -w '%{http_code} %{time_total}\\n' http://localhost:3003/health"
    answers = [stack.shell(timed).out.split() for _ in range(5)]
    assert {code for code, _ in answers} == {"200"}
    assert min(float(seconds) for _, seconds in answers) < 0.2


def test_a03_the_dependencies_are_looked_for_where_the_runbook_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.validation_alias.choices[0]), raising=False)  # type: ignore[union-attr]
    settings = load_settings()
    assert "@redis:6379" in settings.redis_url.replace("//redis", "//@redis")
    assert settings.database_url.startswith("postgresql://postgres:5432/")
    assert settings.agent_mesh_url == "http://agent-mesh:3000"
    assert settings.agent_brain_url == "http://agent-brain:3001"
    assert settings.port == 3003


def test_a04_the_engine_keeps_no_agents(stack: Stack) -> None:
    paths = stack.shell("curl -s http://localhost:3003/openapi.json | jq -r '.paths | keys[]'").out.splitlines()
    assert paths
    assert [path for path in paths if "agent" in path or "manifest" in path] == []
    tables = stack.rows("select table_name from information_schema.tables where table_schema = 'workflow'")
    assert [row for row in tables if "agent" in row["table_name"] or "manifest" in row["table_name"]] == []
