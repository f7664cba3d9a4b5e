"""Pages and lists cost what they show, however many rows there are, with plans from empty tables and without
statistics."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import product
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import pytest

from workflow_engine.records import AuditFilter, WorkflowFilter
from workflow_engine.states import ApprovalStatus, DeliveryStatus
from workflow_engine.store.approvals import Approvals
from workflow_engine.store.audit import Audit
from workflow_engine.store.history import ATTEMPTS, STANDINGS
from workflow_engine.store.outbox import Outbox
from workflow_engine.store.pool import Pool
from workflow_engine.store.schedules import Schedules
from workflow_engine.store.workflow_search import Order, WorkflowSearch
from workflow_engine.store.workflows import GRAPH

from .engine import Engine
from .visits import BIG_TABLES, WORKFLOWS, rows_visited

R = TypeVar("R")


@pytest.fixture
def database(database_url: str) -> str:
    """A fresh one: tables that once were large are not small again for the planner."""
    return database_url


class Looking(Pool):
    """One connection as a pool, in a transaction that is taken back: so it can be asked what its statements visited."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def _run(
        self,
        run: Callable[[psycopg.AsyncConnection[Any]], Awaitable[R]],
        repeatable: bool,
        *,
        unlimited: bool = False,
    ) -> R:
        return await run(self._connection)

    async def fill(self, table: str, rows: str, count: int) -> None:
        """Add rows, of which Postgres has counted a hundredth: `rows` gives one for each number `n`."""
        insert = f"insert into workflow.{table} {rows} from generate_series(%s::int, %s::int) n"
        await self._connection.execute(insert.encode(), [1, count])

    async def visits(self, most: int, look: Callable[[], Awaitable[R]]) -> R:
        """Have something looked at with plans for its values, and with plans for any; fails when rows of a table are
        fetched more often than `most`."""
        for plans in ("force_custom_plan", "force_generic_plan"):
            await self._connection.execute(f"set local plan_cache_mode = {plans}".encode())
            before = await self._fetched()
            found = await look()
            visited = {name: n - before.get(name, 0) for name, n in (await self._fetched()).items()}
            visited = {name: n for name, n in visited.items() if n > most}
            assert not visited, plans
        return found

    async def _fetched(self) -> dict[str, int]:
        fetched: dict[str, int] = await self.value(
            "select jsonb_object_agg(relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))"
            " from pg_stat_xact_all_tables where schemaname = 'workflow'"
        )
        return fetched


@pytest.fixture
async def looking(database: str) -> AsyncIterator[Looking]:
    connection = await psycopg.AsyncConnection.connect(database, autocommit=True, prepare_threshold=0)
    async with connection, connection.transaction(force_rollback=True):
        yield Looking(connection)


@pytest.fixture
def grown(engine: Engine) -> Iterator[Engine]:
    """A thousand workflows that nobody has counted yet."""
    engine.leave_unanalysed("workflow.workflows", "workflow.tasks", "workflow.attempt_history", "workflow.jobs")
    engine.define({"a": [], "b": ["a"]})
    engine.start_many([{"name": "flow"}] * WORKFLOWS)
    yield engine
    engine.run("analyze")  # the check of the invariants that follows joins whole tables


def test_the_graph_and_the_trace_of_a_workflow_visit_its_tasks_and_steps(grown: Engine) -> None:
    steps = 1000
    grown.define({f"s{i}": [f"s{(i - 1) // 3}"] if i else [] for i in range(steps)}, name="wide")
    workflow = grown.start("wide")
    grown.run("analyze workflow.definition_steps")  # its statistics are what speaks for reading all steps at once

    for _ in range(7):  # plans with the values, then without
        with rows_visited(grown, 3 * steps, [*BIG_TABLES, "definition_steps"]):
            assert len(grown.rows(GRAPH, workflow)) == steps
        with rows_visited(grown, 3 * steps, [*BIG_TABLES, "definition_steps"]):
            values = {"id": workflow, "each": None}
            assert grown.connection.execute(ATTEMPTS.format(tasks="").encode(), values).fetchall() == []


def test_who_follows_costs_a_look_at_the_workflow_and_at_its_last_event(grown: Engine) -> None:
    followed = [row["id"] for row in grown.rows("select id from workflow.workflows order by id desc limit 20")]
    for _ in range(7):
        with rows_visited(grown, 2 * len(followed), [*BIG_TABLES, "events"]):
            (standings,) = grown.rows(STANDINGS, followed, 10**9)
            assert len(next(iter(standings.values()))) == len(followed)


async def test_what_few_workflows_meet_is_looked_for_among_so_many_and_no_more(looking: Looking) -> None:
    await looking.fill(
        "workflows",
        "(id, version_id, name, version, status, open_tasks, created_at, started_at, finished_at)"
        " select workflow.new_id(), 1, 'flow', 1, case n %% 2 when 0 then 'running' else 'succeeded' end, n %% 2,"
        "        now(), now(), case n %% 2 when 1 then now() end",
        20_000,
    )
    orders: Sequence[Order] = ("newest", "oldest", "longest")
    for which, order in product(
        (
            WorkflowFilter(name="nobody"),
            WorkflowFilter(name="no*", since=datetime(2020, 1, 1, tzinfo=UTC)),
            WorkflowFilter(labels={"team": "none"}, status=["failed", "cancelled"]),
            WorkflowFilter(status=["pending", "running"], min_seconds=86_400),
        ),
        orders,
    ):
        look = partial(WorkflowSearch(looking).page, which, among=1000, limit=10, order=order)
        assert not (await looking.visits(2100, look)).workflows
    assert await looking.visits(2100, partial(WorkflowSearch(looking).by_end, "0" * 12, among=1000)) is None


def test_how_long_attempts_took_lately_is_read_from_those_that_ended_lately(grown: Engine) -> None:
    for _ in range(7):
        with rows_visited(grown, 0):
            grown.run("select workflow.mean_attempt_seconds('0 seconds', 5000)")


async def test_the_audit_log_is_looked_through_as_far_as_is_told(looking: Looking) -> None:
    """100,000 rows, of two programs; what is asked seldom was asked long ago."""
    await looking.fill(
        "audit",
        "(at, principal, method, path, operation, workflow_id, status)"
        " select clock_timestamp() - make_interval(secs => 100000 - n), (array['shop', 'ci'])[1 + n %% 2], 'POST', '/',"
        "        case when n < 10 then 'engine_pause' else 'workflows_start' end, md5((n / 4)::text)::uuid,"
        "        case when n < 10 then 403 else 202 end",
        100_000,
    )
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    for which, most in (
        (AuditFilter(), 110),
        (AuditFilter(principal="shop", operation="workflows_start"), 110),
        (AuditFilter(principal="nobody", operation="workflows_start"), 110),
        (AuditFilter(workflow_id=UUID(int=1)), 110),
        (AuditFilter(principal="shop", operation="engine_pause"), 2100),
        (AuditFilter(principal="ci", operation="engine*", status=403), 2100),
        (AuditFilter(operation="engine_pause"), 2100),
        (AuditFilter(principal="ci", since=long_ago, status=403), 2200),
        (AuditFilter(principal="ci", until=long_ago), 200),
    ):
        await looking.visits(most, partial(Audit(looking).page, which, among=1000, limit=50))


async def test_an_inbox_of_approvals_visits_those_it_looks_among(looking: Looking) -> None:
    approvals, status = Approvals(looking), ApprovalStatus
    await looking.fill(
        "approvals",
        " (id, workflow_id, task_id, attempt, assignees, outcomes, status, created_at, closed_at, outcome, answered_at)"
        " select workflow.new_id(), workflow.new_id(), n, 1, '{finance}', '{approved}',"
        "        case n %% 2 when 0 then 'open' else 'answered' end, now(), case n %% 2 when 1 then now() end,"
        "        case n %% 2 when 1 then 'approved' end, case n %% 2 when 1 then now() end",
        100_000,
    )
    assert len(await looking.visits(1200, partial(approvals.inbox, among=1000, limit=50))) == 50
    assert not await looking.visits(1200, partial(approvals.inbox, names=["nobody"], among=1000, limit=50))
    assert await looking.visits(1200, partial(approvals.count_open, names=["finance"], among=1000)) == 1000
    for statuses in ([], [status.OPEN], [status.ANSWERED], [status.WITHDRAWN, status.ANSWERED]):
        found = await looking.visits(400, partial(approvals.list, status=statuses, limit=50))
        assert len(found) == 50
    assert not await looking.visits(100, partial(approvals.list, status=[status.WITHDRAWN], limit=50))
    assert not await looking.visits(21_000, partial(approvals.list, status=[status.EXPIRED], limit=50))


async def test_the_outbox_visits_what_it_shows_and_looks_among_so_many_for_what_is_rare(looking: Looking) -> None:
    outbox, status = Outbox(looking), DeliveryStatus
    await looking.fill(
        "outbox",
        " (id, workflow_id, task_id, name, kind, target, origin, status, created_at, due_at, error)"
        " select workflow.new_id(), workflow.new_id(), n, 'paid', 'webhook', 'https://a/b', 'https://a',"
        "        (array['pending', 'delivered', 'dead'])[1 + n %% 3], now(), now(),"
        "        case n %% 3 when 2 then 'refused' end",
        100_000,
    )
    for statuses in ([], [status.PENDING, status.DEAD], [status.DELIVERED]):
        found = await looking.visits(400, partial(outbox.list, status=statuses, limit=50))
        assert len(found) == 50
    assert len(await looking.visits(200, partial(outbox.list, status=[status.DEAD], failing=True, limit=50))) == 50
    assert not await looking.visits(41_000, partial(outbox.list, status=["pending", "dead"], origin="https://b"))
    assert [(each.dead, each.failing) for each in await looking.visits(41_000, outbox.targets)] == [(20_000, 0)]


async def test_a_page_of_schedules_visits_those_it_shows(looking: Looking) -> None:
    schedules = Schedules(looking)
    await looking.fill("definitions", "(name, latest_version) select 'job ' || lpad(n::text, 6, '0'), 1", 50_000)
    await looking.fill(
        "schedules",
        "(name, position, cron, timezone, overlap, catchup, since, last_error)"
        " select 'job ' || lpad(n::text, 6, '0'), 0, '0 0 * * *', 'UTC', 'skip', 'latest', now(), 'refused'",
        50_000,
    )
    for after in ("", "job 025000"):
        found = await looking.visits(150, partial(schedules.page, after=after))
        assert len(found) == 50
