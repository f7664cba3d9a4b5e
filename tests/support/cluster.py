"""An engine and workers as users run them: processes, HTTP in, SQL to look inside.

Leases are short, so that a takeover takes seconds; all else is as in production.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

from support import acceptance_handlers
from support.documents import Document
from support.eventually import eventually
from support.invariants import assert_sound
from support.ledger import Ledger
from support.processes import EngineProcess
from workflow_engine.embedded.places import free_port

LEASE_SECONDS = 3.0
HEARTBEAT_SECONDS = 1.0
TAKEOVER_SECONDS = 15.0  # lease, sweep, and patience with a busy machine

_TESTS = Path(__file__).parents[1]
_FORGOTTEN = ("DATABASE_URL", "REDIS_URL", "LOG_DIR", "PORT")  # a developer's shell must not lend its servers


class Cluster:
    """The processes of one test.

    Args:
        directory: For logs and the ledger.
        database_url: Of a migrated database.
        redis_url: Of the mirror; it may be down.
        env: Settings of all its processes.
    """

    def __init__(self, directory: Path, database_url: str, redis_url: str, **env: str) -> None:
        self._directory = directory
        self._database_url = database_url
        self.ledger = Ledger(directory / "ledger.jsonl")
        self.url = ""  # of the engine
        self.processes: list[EngineProcess] = []
        self._http = httpx.Client(timeout=20, trust_env=False)
        ours = {name: value for name, value in os.environ.items() if name not in _FORGOTTEN}
        self._env = {
            **ours,
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "HOST": "127.0.0.1",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(_TESTS), os.environ.get("PYTHONPATH")])),
            "WORKFLOW_INCLUDE": acceptance_handlers.__name__,
            acceptance_handlers.LEDGER: str(self.ledger.path),
            "WORKFLOW_LEASE_SECONDS": str(LEASE_SECONDS),
            "WORKFLOW_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
            "WORKFLOW_SWEEP_SECONDS": "0.5",
            "WORKER_METRICS_PORT": "0",
            "LOG_LEVEL": "info",
            **env,
        }

    # Processes --------------------------------------------------------------------------------------------------------

    def up(self, workers: int = 1, **env: str) -> list[EngineProcess]:
        """Start an engine, to which `start` then speaks, and workers, all at once; returns the ready workers."""
        engine, self.url = self.begin_engine(**env)
        started = [self.begin_worker(**env) for _ in range(workers)]
        for worker in started:
            worker.says("worker registered")

        def ready() -> bool:
            assert engine.alive, engine.output[-3000:]
            try:
                return self._request("GET", "/readyz").status_code == 200
            except httpx.TransportError:
                return False

        eventually(ready, 30, message=f"not ready:\n{engine.output[-3000:]}")
        return started

    def begin_engine(self, **env: str) -> tuple[EngineProcess, str]:
        """Start `workflow-engine serve` and wait for nothing; returns it and its URL."""
        port = free_port()
        return self._start("serve", env={**env, "PORT": str(port)}), f"http://127.0.0.1:{port}"

    def worker(self, **env: str) -> EngineProcess:
        """Start `workflow-engine worker` and wait until it has registered."""
        worker = self.begin_worker(**env)
        worker.says("worker registered")
        return worker

    def begin_worker(self, **env: str) -> EngineProcess:
        """Start `workflow-engine worker` and wait for nothing."""
        return self._start("worker", env=env)

    def close(self) -> None:
        """End what still runs."""
        for process in self.processes:
            process.kill()
        self._http.close()

    def _start(self, command: str, env: Mapping[str, str]) -> EngineProcess:
        log = self._directory / f"{command}-{len(self.processes) + 1}.log"
        process = EngineProcess(command, env={**self._env, **env}, log=log)
        self.processes.append(process)
        return process

    # Users ------------------------------------------------------------------------------------------------------------

    def start(self, document: Document) -> str:
        """Start a workflow; returns its id."""
        answer = self._request("POST", "/api/v1/workflows", json=document)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def try_start(self, documents: Sequence[Document], key: str) -> list[str] | None:
        """Start several; None when the engine is away or says that Postgres is: try again with the same key."""
        try:
            answer = self._request(
                "POST", "/api/v1/workflows/batch", json=list(documents), headers={"Idempotency-Key": key}
            )
        except httpx.TransportError:
            return None
        if answer.status_code == 503:
            assert "Retry-After" in answer.headers
            return None
        assert answer.status_code == 202, answer.text
        return [started["id"] for started in answer.json()]

    def start_many(self, documents: Sequence[Document]) -> list[str]:
        started = self.try_start(documents, key="many")
        assert started is not None
        return started

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._http.request(method, f"{self.url}{path}", **options)

    # The truth --------------------------------------------------------------------------------------------------------

    def connect(self) -> psycopg.Connection[dict[str, Any]]:
        """A connection for a transaction of the test's own."""
        return psycopg.connect(self._database_url, row_factory=dict_row)

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        with self.connect() as connection:
            return connection.execute(query.encode(), parameters).fetchall()

    def status(self, workflow: str) -> str:
        return str(self.rows("select status from workflow.workflow_list where id = %s", workflow)[0]["status"])

    def output(self, workflow: str) -> Any:
        return self.rows("select output from workflow.workflow_list where id = %s", workflow)[0]["output"]

    def await_end(self, workflow: str, timeout: float = 60) -> str:
        """Wait until a workflow ended; returns its status."""
        return self.await_ends([workflow], timeout)[workflow]

    def await_ends(self, workflows: Sequence[str], timeout: float = 60) -> dict[str, str]:
        """Wait until workflows ended; returns the status of each that the database knows."""

        def ended() -> dict[str, str] | None:
            found = self.rows(
                "select id::text, status, finished_at from workflow.workflows where id = any(%s)", workflows
            )
            open_ones = [row for row in found if row["finished_at"] is None]
            assert not open_ones, f"{len(open_ones)} of {len(workflows)} have not ended"
            return {row["id"]: row["status"] for row in found}

        try:
            found = eventually(ended, timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._diagnosis()}") from error
        assert found is not None
        return found

    def outcomes(self, workflow: str, step: str) -> list[str | None]:
        """How the attempts of a step ended, oldest first; None = it runs."""
        found = self.rows(
            "select a.outcome from workflow.attempts a join workflow.task_list t on t.id = a.task_id"
            " where t.workflow_id = %s and t.step = %s order by a.attempt",
            workflow,
            step,
        )
        return [row["outcome"] for row in found]

    def task(self, workflow: str, step: str) -> dict[str, Any]:
        return self.rows("select * from workflow.task_list where workflow_id = %s and step = %s", workflow, step)[0]

    def _diagnosis(self) -> str:
        """What there is to know about a cluster that does not move."""
        facts = [
            f"processes: {[(p.pid, 'alive' if p.alive else p.output[-300:]) for p in self.processes]}",
            *(
                f"{name}: {self.rows(query)}"
                for name, query in (
                    ("workflows", "select status, count(*) from workflow.workflows group by 1"),
                    (
                        "open tasks",
                        "select status, count(*), sum(open_dependencies) as open_dependencies,"
                        " count(*) filter (where lease_until < clock_timestamp()) as expired from workflow.tasks"
                        " where finished_at is null group by 1",
                    ),
                    ("jobs", "select status, scheduled_at, count(*) from procrastinate_jobs group by 1, 2"),
                    ("workers", "select name, status, age_seconds, current_tasks from workflow.worker_list"),
                    (
                        "connections",
                        "select application_name, state, wait_event, xact_start, left(query, 80) as query"
                        " from pg_stat_activity where datname = current_database()",
                    ),
                )
            ),
        ]
        return "\n".join(facts)

    def assert_at_rest(self) -> None:
        """Everything has ended, once, and nothing was left over."""
        assert self.rows("select id, status from workflow.workflows where finished_at is null limit 3") == []
        assert self.rows("select id, status, task_name from procrastinate_jobs limit 3") == []
        assert_sound(self)
