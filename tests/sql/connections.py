"""Connections of the SQL tests, which one test after the other has, and who empties the database between them."""

from __future__ import annotations

from typing import Any, Self

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

Connection = psycopg.Connection[dict[str, Any]]

WORK_TABLES = (
    "workflow.start_keys", "workflow.places", "workflow.concurrency_keys", "workflow.budgets", "workflow.spent_units",
    "workflow.workflows", "workflow.tasks", "workflow.attempt_history", "workflow.events", "workflow.records",
    "workflow.replaced_tasks", "workflow.task_logs", "workflow.holds", "workflow.waits", "workflow.scopes",
    "workflow.groups", "workflow.signals", "workflow.signal_waits", "workflow.approvals", "workflow.outbox",
    "workflow.endings", "workflow.compensations", "workflow.deadlines", "workflow.parents_to_wake",
    "workflow.children_to_cancel", "procrastinate_jobs",
)  # fmt: skip
OTHER_TABLES = (
    "workflow.idempotency_keys", "workflow.workers", "workflow.definition_steps", "workflow.definition_scopes",
    "workflow.schedules", "workflow.definition_versions",
    "workflow.definitions", "workflow.resources", "workflow.samples", "workflow.task_type_changes",
    "workflow.daily_ends",
    "workflow.alerts", "workflow.watched", "workflow.engines", "workflow.incidents", "procrastinate_workers",
)  # fmt: skip
_EMPTY = f"""
    create function pg_temp.empty_database() returns void language plpgsql as $$
    begin
        {"; ".join(f"delete from {table}" for table in (*WORK_TABLES, *OTHER_TABLES))};
        update workflow.engine set paused_at = null, paused_until = null, paused_by = null
        where num_nonnulls(paused_at, paused_until, paused_by) > 0;
        update workflow.task_types set timeout = null where timeout > 0;
        update workflow.history_partitions set rules = null, left_over = false, kept = 0, began_at = '-infinity',
            again_at = 'infinity', walked = coalesce(lower, workflow.partitions_end(parent)) where rules is not null;
    end $$"""


def open_connection(url: str) -> Connection:
    # A lock that a test did not mean to wait for ends the test instead of hanging it.
    return psycopg.connect(
        url, autocommit=True, row_factory=dict_row, application_name="test", options="-c lock_timeout=10s"
    )


def is_as_new(connection: Connection) -> bool:
    """Take back what a test may have done to a connection; False = it is not fit for another one."""
    if connection.closed:
        return False
    if connection.info.transaction_status != TransactionStatus.IDLE:
        return False
    if connection.execute("select from pg_listening_channels()").fetchone() is not None:
        return False  # what it was told already cannot be taken back
    connection.execute("reset all; reset session authorization; discard temp; select pg_advisory_unlock_all()")
    return True


class Janitor:
    """Empties a database in one statement that is planned once, and leaves what the migrations put there."""

    def __init__(self, url: str) -> None:
        self._connection = open_connection(url)
        self._connection.execute(_EMPTY.encode())

    def empty(self) -> None:
        self._connection.execute("select pg_temp.empty_database()")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
