"""A stack to operate on: two engines, two workers, and a shell in which the runbook's commands work as written."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis

from support.cluster import environment
from support.documents import Document
from support.eventually import eventually
from support.ledger import Ledger
from support.load import Load
from support.processes import is_alive
from support.slow_model import SlowModel
from support.truth import Truth
from support.users import Users
from workflow_engine.embedded.places import temporary_data_directory
from workflow_engine.embedded.process import Child, tail

START_SECONDS = 90
AGREE_SECONDS = 5
TOOLS = {"bash": "bash", "curl": "curl", "jq": "jq", "redis-cli": "redis-tools", "timeout": "coreutils", "grep": "grep"}
"""Programs of the runbook, and the Debian package each comes with."""

_KUBECTL = Path(__file__).with_name("kubectl.py")


@dataclass(frozen=True)
class Shown:
    """What a command printed, and how it ended."""

    command: str
    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Its output as JSON."""
        try:
            return json.loads(self.out)
        except ValueError:
            raise AssertionError(f"not JSON:\n{self}") from None

    def __str__(self) -> str:
        return f"$ {self.command}\n{self.out}{self.err}(exit code {self.code})"


class Stack(Users, Truth):
    """Real processes in a temporary directory, for one user at a time. Use it as a context manager.

    Args:
        grace: Seconds a process may take to stop before it is killed.
        env: Settings of its engines and workers.

    Attributes:
        ledger: What the handlers of its workers did.
        model: What answers `llm_inference` steps.
        definitions: The folder of WORKFLOW_DEFINITIONS_DIR.
    """

    def __init__(self, *, engines: int = 2, workers: int = 2, grace: float = 6, **env: str) -> None:
        require_tools()
        self.directory = temporary_data_directory()
        self.ledger = Ledger(self.directory / "ledger.jsonl")
        self._desk = self.directory / "desk"  # where the operator sits
        self._desk.mkdir()
        self._strict = self.directory / "strict"
        self._strict.mkdir()
        (self._strict / ".curlrc").write_text("fail-with-body\n")
        self._make_kubectl()
        self.model = SlowModel()
        self.definitions = self.directory / "definitions"
        self.definitions.mkdir()
        options = ["--engines", str(engines), "--workers", str(workers), "--grace", str(grace)]
        self._child = Child(
            [sys.executable, "-m", "support.deployments", str(self.directory), *options],
            env={
                **environment(self.ledger),
                "WORKER_SHUTDOWN_TIMEOUT": "4",
                "WORKFLOW_LLM_BASE_URL": self.model.url,
                "WORKFLOW_DEFINITIONS_DIR": str(self.definitions),
                "WORKFLOW_MEMORY_PROFILE_SECONDS": "2",
                "WORKFLOW_MEMORY_PROFILE_SHARE": "0.5",
                "WORKFLOW_LEASE_SECONDS": "6",  # so that orphans can be looked at before they are taken back
                **env,
            },
            log=self.directory / "deployments.log",
            death_signal=signal.SIGTERM,
        )

    def __enter__(self) -> Stack:
        try:
            eventually(self._started, START_SECONDS, message="the stack did not start")
        except BaseException:
            self.close()
            raise
        Users.__init__(self, self.facts["url"])
        Truth.__init__(self, self.facts["database_url"])
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with suppress(AttributeError):  # it may not have come so far
            self.close_users()
        self._child.stop(signal.SIGTERM, grace=60)
        self.model.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _started(self) -> bool:
        if not self._child.alive:
            raise RuntimeError(tail(self.directory / "deployments.log", 40))
        return (self.directory / "stack.json").exists() and (self.directory / "control").exists()

    # What runs --------------------------------------------------------------------------------------------------------

    @property
    def facts(self) -> dict[str, Any]:
        """The content of `stack.json`."""
        facts: dict[str, Any] = json.loads((self.directory / "stack.json").read_text())
        return facts

    @property
    def engine_urls(self) -> list[str]:
        return list(self.facts["engine_urls"])

    @property
    def logs(self) -> Path:
        """The folder of `app.log` and the others."""
        return Path(self.facts["logs"])

    def pids(self, kind: str) -> list[int]:
        """Of the `engines` or the `workers`."""
        return [pid for pid in self.facts["pids"][kind] if is_alive(pid)]

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.facts["redis_url"], decode_responses=True)

    def ask(self, do: str, **request: Any) -> Any:
        """Tell the deployments what is wanted, where the runbook has no command for it."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(120)
            connection.connect(str(self.directory / "control"))
            connection.sendall(json.dumps({"do": do, **request}).encode() + b"\n")
            with connection.makefile() as answers:
                answer = json.loads(answers.readline())
        assert "error" not in answer, answer
        return answer["answer"]

    def reset(self) -> None:
        """Have again what there was at the start: the same numbers, the same settings, Redis, nothing paused."""
        self.ask("reset")
        with suppress(AssertionError):
            self.post("/resume")

    @contextmanager
    def load(self, batch: list[Document], name: str) -> Iterator[Load]:
        """Users who go to the engines in turn and keep starting workflows, until the context ends."""
        users = [Users(url) for url in self.engine_urls]
        turns = itertools.cycle(users)
        try:
            with Load(lambda documents, key: next(turns).try_start(documents, key), batch, name).running() as load:
                yield load
        finally:
            for each in users:
                each.close_users()

    # The operator -----------------------------------------------------------------------------------------------------

    def shell(
        self,
        command: str,
        *,
        code: int = 0,
        timeout: float = 120,
        server: str | None = None,
        strict: bool = False,
        **names: str,
    ) -> Shown:
        """Run a command of the runbook as it is written, but for addresses and placeholders.

        Args:
            command: Its text, for bash. `localhost:3003` becomes the engine's address, port 6379 that of Redis,
                `/var/log/workflow-engine` the folder of the logs.
            code: The exit code it must have.
            timeout: Seconds it may take.
            server: Another engine than the first.
            strict: Have curl end with an exit code when a request is refused.
            names: What is put for placeholders: `workflow_id="0198..."` for `{workflow_id}`.
        """
        text = self.written(command, server=server, **names)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self._desk,
            env=self._environment() | ({"CURL_HOME": str(self._strict)} if strict else {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        shown = Shown(text, done.returncode, done.stdout, done.stderr)
        assert done.returncode == code, str(shown)
        return shown

    def written(self, command: str, *, server: str | None = None, **names: str) -> str:
        """The text of a command with the addresses of this stack, and values for its placeholders."""
        facts = self.facts
        text = command.replace("http://localhost:3003", server or facts["url"])
        text = re.sub(r"\b6379\b", str(urlsplit(facts["redis_url"]).port), text)
        text = text.replace("/var/log/workflow-engine", facts["logs"])
        for name, value in names.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    def curl(self, command: str, *, on_all: bool = True, **names: str) -> Any:
        """Run a `curl` of the runbook that changes nothing, and return its JSON, on which all replicas must agree.

        What moves may differ from one to the next: then all are asked again, for some seconds.
        """
        if not on_all:
            return self.shell(command, **names).json()

        def agreed() -> list[Any]:
            answer, *others = [self.shell(command, server=server, **names).json() for server in self.engine_urls]
            for other in others:
                assert shape(other) == shape(answer), f"the replicas answer differently:\n{other}\n{answer}"
            return [answer]

        return eventually(agreed, AGREE_SECONDS)[0]

    def file(self, name: str) -> Path:
        """A file that a command wrote."""
        return self._desk / name

    def get(self, path: str, server: str | None = None) -> Any:
        """The JSON at a path of the API, for what the runbook has no command for."""
        answer = self._http.get(f"{server or self.url}/api/v1{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, **options: Any) -> Any:
        answer = self._http.post(f"{self.url}/api/v1{path}", **options)
        assert answer.is_success, answer.text
        return answer.json()

    def said(self, *phrases: str, files: Sequence[str] = ("app.log", "worker.log")) -> list[str]:
        """Lines of the logs that contain all these phrases."""
        lines: list[str] = []
        pods = sorted((self.logs / "pods").glob("*.log"))
        for path in [*(self.logs / file for file in files if (self.logs / file).exists()), *pods]:
            lines += [line for line in path.read_text(errors="replace").splitlines() if all(p in line for p in phrases)]
        return lines

    def _environment(self) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        path = os.pathsep.join([str(self.directory / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
        return {
            **env,
            "PATH": path,
            "STACK_DIRECTORY": str(self.directory),
            "WORKFLOW_SERVER": self.facts["url"],
            "CURL_HOME": str(self._desk),
        }

    def _make_kubectl(self) -> None:
        (self.directory / "bin").mkdir()
        program = self.directory / "bin" / "kubectl"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{_KUBECTL}" "$@"\n')
        program.chmod(0o755)


def shape(answer: Any) -> Any:
    """An answer without what differs from one moment to the next: ages, times, durations."""
    if isinstance(answer, dict):
        return {name: shape(value) for name, value in answer.items() if not re.search(_FLEETING, name)}
    if isinstance(answer, list):
        return [shape(each) for each in answer]
    return answer


_FLEETING = r"(_s|_at|_seconds|_bytes|_ms|since|age|duration|running_so_far|explanation|current_tasks|busy|instance)$"


def require_tools() -> None:
    """Fail when a program of the runbook is missing, with the package to install."""
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if missing:
        raise RuntimeError(
            f"The runbook's own commands are run here, and programs are missing: apt-get install {' '.join(missing)}"
        )
