"""What the processes of a stack are told: ports, and the environment that names everything to everyone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from workflow_engine.embedded.places import free_port
from workflow_engine.embedded.standins.llm import MODEL
from workflow_engine.settings import NO_LOG_DIRECTORY

READY_SECONDS = 60.0  # how long a stack may take to start
_STANDIN_PORTS = {"agent_mesh": 3000, "agent_brain": 3001, "llm": None, "echo": None}  # as the runbook has them
_WORKER_METRICS_PORT = 9464
_DEFINITIONS = "workflows"  # where the command was typed
_REDIS_PORT = 6379  # the runbook's redis-cli commands then work as they stand
_SHUTDOWN_SECONDS = "10"  # on a laptop Ctrl-C should not take the five minutes of production


@dataclass(frozen=True, slots=True)
class Ports:
    """One port for everything that is not a given server."""

    engines: list[int]
    worker_metrics: list[int]
    standins: dict[str, int]
    preferred_redis: int = _REDIS_PORT

    @classmethod
    def choose(cls, port: int, engines: int, workers: int) -> Ports:
        """The first engine gets `port`; all else its usual port, or a free one when that is taken."""
        taken = {port, _REDIS_PORT}

        def choose(preferred: int | None = None) -> int:
            chosen = free_port(preferred, avoid=frozenset(taken))
            taken.add(chosen)
            return chosen

        return cls(
            standins={name: choose(preferred) for name, preferred in _STANDIN_PORTS.items()},
            worker_metrics=[choose(_WORKER_METRICS_PORT if number == 0 else None) for number in range(workers)],
            engines=[port, *(choose() for _ in range(engines - 1))],
        )

    @property
    def engine_urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.engines]

    @property
    def standin_urls(self) -> dict[str, str]:
        urls = {name: f"http://127.0.0.1:{port}" for name, port in self.standins.items()}
        urls["llm"] += "/v1"
        return urls

    @property
    def standin_arguments(self) -> list[str]:
        return [word for name, port in self.standins.items() for word in (f"--{name.replace('_', '-')}", str(port))]


def environment(
    ports: Ports, database_url: str, redis_url: str, include: str | None, *, mock_http: bool, logs: Path
) -> dict[str, str]:
    """The environment of engines, workers and stand-ins: ours, completed. What we were given ourselves is kept.

    Engines and workers write `app.log`, `worker.log` and `tasks.log` in `logs` themselves. Their stdout and stderr are
    appended to the first two as well, which they notice: a line is there once, and a crash is there too.
    """
    standins = ports.standin_urls
    defaults = {
        "HOST": "127.0.0.1",  # a laptop on a foreign network is no place for an open API
        "AGENT_MESH_URL": standins["agent_mesh"],
        "AGENT_BRAIN_URL": standins["agent_brain"],
        "WORKFLOW_LLM_BASE_URL": standins["llm"],
        "WORKFLOW_LLM_MODEL": MODEL,
        "WORKER_SHUTDOWN_TIMEOUT": _SHUTDOWN_SECONDS,
    }
    if (definitions := Path(_DEFINITIONS)).is_dir():
        defaults["WORKFLOW_DEFINITIONS_DIR"] = str(definitions.absolute())
    ours = {name: value for name, value in os.environ.items() if value}
    fixed = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "LOG_DIR": str(logs)}
    if include:
        fixed["WORKFLOW_INCLUDE"] = include
    if mock_http:
        fixed["WORKFLOW_MOCK_HTTP_URL"] = standins["echo"]
    return {**defaults, **ours, **fixed}


def log_directory(data_directory: Path) -> Path:
    """LOG_DIR, or `logs` in the data directory; also when LOG_DIR is `off`: children's output must go somewhere."""
    given = os.environ.get("LOG_DIR", NO_LOG_DIRECTORY)
    return Path(given if given not in ("", NO_LOG_DIRECTORY) else data_directory / "logs").absolute()
