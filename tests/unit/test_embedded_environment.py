"""What `dev` tells the processes it starts."""

from pathlib import Path

import pytest

from workflow_engine.embedded.environment import Ports, environment


def definitions_dir(tmp_path: Path) -> str | None:
    ports = Ports(
        engines=[1], worker_metrics=[2], standins=dict.fromkeys(("agent_mesh", "agent_brain", "llm", "echo"), 3)
    )
    return environment(ports, "", "", None, mock_http=False, logs=tmp_path).get("WORKFLOW_DEFINITIONS_DIR")


def test_definitions_are_taken_from_the_folder_workflows_unless_another_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORKFLOW_DEFINITIONS_DIR", raising=False)
    assert definitions_dir(tmp_path) is None
    (tmp_path / "workflows").mkdir()
    assert definitions_dir(tmp_path) == str(tmp_path / "workflows")
    monkeypatch.setenv("WORKFLOW_DEFINITIONS_DIR", "/elsewhere")
    assert definitions_dir(tmp_path) == "/elsewhere"
