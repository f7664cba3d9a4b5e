"""What the database says: the truth, whatever processes say or do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row

from support.eventually import eventually
from support.invariants import assert_sound


class Truth:
    """Reads the database at `database_url`."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url

    def connect(self) -> psycopg.Connection[dict[str, Any]]:
        """A connection for a transaction of the test's own."""
        return psycopg.connect(self.database_url, row_factory=dict_row)

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
            raise AssertionError(f"{error}\n{self.diagnosis()}") from error
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

    def diagnosis(self) -> str:
        """What there is to know about workflows that do not move."""
        queries = {
            "workflows": "select status, count(*) from workflow.workflows group by 1",
            "open tasks": "select status, count(*), sum(open_dependencies) as open_dependencies,"
            " count(*) filter (where lease_until < clock_timestamp()) as expired from workflow.tasks"
            " where finished_at is null group by 1",
            "jobs": "select status, scheduled_at, count(*) from procrastinate_jobs group by 1, 2",
            "workers": "select name, status, age_seconds, current_tasks from workflow.worker_list",
            "connections": "select application_name, state, wait_event, xact_start, left(query, 80) as query"
            " from pg_stat_activity where datname = current_database()",
        }
        return "\n".join(f"{name}: {self.rows(query)}" for name, query in queries.items())

    def assert_at_rest(self) -> None:
        """Everything has ended, once, and nothing was left over."""
        assert self.rows("select id, status from workflow.workflows where finished_at is null limit 3") == []
        assert self.rows("select id, status, task_name from procrastinate_jobs limit 3") == []
        assert_sound(self)
