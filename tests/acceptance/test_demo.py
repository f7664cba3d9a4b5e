"""`workflow-engine demo`, the first thing a newcomer runs: the runbook's workflow for real, shown, and nothing left."""

import os
import subprocess

from workflow_engine.embedded.places import free_port, temporary_data_directory
from workflow_engine.embedded.services import engine_command


def test_the_demo_runs_the_runbooks_workflow_shows_it_and_cleans_up() -> None:
    port = free_port()
    temporary = temporary_data_directory()
    given = {"DATABASE_URL", "REDIS_URL", "LOG_DIR", "AGENT_MESH_URL", "AGENT_BRAIN_URL"}
    env = {k: v for k, v in os.environ.items() if k not in given} | {"TMPDIR": str(temporary)}
    done = subprocess.run(
        engine_command("demo", "--port", str(port)), env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    steps = [line.split()[:3] for line in done.stdout.splitlines()]
    for step, kind in (("fetch", "http"), ("process", "agent"), ("store", "database")):
        assert [step, kind, "succeeded"] in steps, done.stdout
    for shown in (f"http://127.0.0.1:{port}", "202 ", "Trace (GET ", "workflow.records", "processor (a stand-in) read"):
        assert shown in done.stdout
    assert list(temporary.iterdir()) == []
    temporary.rmdir()
