"""All stand-ins in one process, until SIGTERM."""

from __future__ import annotations

import argparse
import signal

from workflow_engine.embedded.standins.agent_brain import agent_brain
from workflow_engine.embedded.standins.agent_mesh import agent_mesh
from workflow_engine.embedded.standins.echo import echo
from workflow_engine.embedded.standins.llm import llm
from workflow_engine.embedded.standins.server import start_server


def main() -> None:
    parser = argparse.ArgumentParser(description="Stand-ins for Agent Mesh, Agent Brain and a model.")
    for name in ("agent-mesh", "agent-brain", "llm", "echo"):
        parser.add_argument(f"--{name}", type=int, required=True, metavar="PORT")
    ports = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)  # ends pause(), below, without a traceback
    start_server("agent-mesh", ports.agent_mesh, agent_mesh(f"http://127.0.0.1:{ports.agent_brain}"))
    start_server("agent-brain", ports.agent_brain, agent_brain())
    start_server("llm", ports.llm, llm)
    start_server("echo", ports.echo, echo)
    signal.pause()


if __name__ == "__main__":
    main()
