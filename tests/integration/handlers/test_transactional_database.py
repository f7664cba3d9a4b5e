"""Transactional `database` steps: the user's SQL and the task's completion are one commit, or neither happened."""

import asyncio
import contextlib
from dataclasses import dataclass, replace

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import Jsonb
from support.eventually import eventually_async

from workflow_engine.bootstrap import load_handlers, open_store, step_connection
from workflow_engine.definition.compile import compile_definition
from workflow_engine.errors import TaskError
from workflow_engine.handlers.base import Outcome, TaskContext
from workflow_engine.handlers.builtin import builtin_handlers
from workflow_engine.handlers.connections import Connections
from workflow_engine.observability.logs import get_logger
from workflow_engine.records import WorkflowStart
from workflow_engine.settings import load_settings
from workflow_engine.testing import task_context
from workflow_engine.worker.loop import Worker

STEP = {
    "id": "book",
    "type": "database",
    "queue": "default",
    "priority": 0,
    "dependencies": [],
    "ordering": [],
    "successors": [],
    "refs": [],
    "uses_input": False,
    "tolerated": False,
}
INSERT = "INSERT INTO bookings (id) VALUES (%(id)s) RETURNING id"


@dataclass(frozen=True)
class Claimed:
    """A database with one task of type `database` that this test holds the lease of."""

    admin: psycopg.Connection
    ctx: TaskContext

    def value(self, query, *parameters):
        return self.admin.execute(query, parameters).fetchone()[0]

    @property
    def status(self):
        return self.value("SELECT status FROM workflow.task_list WHERE id = %s", self.ctx.task_id)

    @property
    def bookings(self):
        schema = self.value("SELECT role_name FROM workflow.step_role")
        query = psycopg.sql.SQL("SELECT id FROM {}.bookings ORDER BY id").format(psycopg.sql.Identifier(schema))
        return [row[0] for row in self.admin.execute(query)]


@pytest.fixture
def engine_dsn(database_url):
    return asyncio.run(step_connection(database_url))


@pytest.fixture
def claimed(database_url, engine_dsn):
    with psycopg.connect(engine_dsn, autocommit=True) as owner:
        owner.execute("CREATE TABLE bookings (id int PRIMARY KEY)")
    with psycopg.connect(database_url, autocommit=True) as admin:

        def value(query, *parameters):
            return admin.execute(query, parameters).fetchone()[0]

        value("SELECT workflow.register_definition('flow', '{}', 'hash', '{}', %s)", Jsonb([STEP]))
        value("SELECT workflow.start_many(%s, NULL, '', '')", Jsonb([{"name": "flow", "input": {}}]))
        worker = value(
            "SELECT workflow.register_worker('test', 'host', 1, '1', '{default}', %s, 10, 10, w.worker_id)"
            " FROM procrastinate_register_worker_v1() w",
            Jsonb([{"name": "database"}]),
        )
        turn = value("SELECT workflow.turn(%s, NULL, '{default}', '{database}', 1, 30)", worker)
        [claim] = turn["claims"]
        ctx = task_context(
            task_id=str(claim["task_id"]), attempt=claim["attempt"], lease_token=claim["lease_token"], step="book"
        )
        yield Claimed(admin, ctx)


@pytest.fixture
def run(http, engine_dsn, claimed):
    async def run(ctx=None, dsn=engine_dsn, settings=None, **inputs):
        async def engine():
            return dsn

        async with Connections({}, engine=engine) as connections:
            handle = builtin_handlers(load_settings(**(settings or {})), http=http, connections=connections)["database"]
            given = {"statement": INSERT, "params": {"id": 7}, "transactional": True}
            return await handle.handle({**given, **inputs}, ctx or claimed.ctx)

    return run


async def failure(awaitable):
    with pytest.raises(TaskError) as caught:
        await awaitable
    return caught.value


async def test_the_statement_and_the_completion_are_committed_together(run, claimed):
    outcome = await run()
    assert outcome == Outcome({"rows": [{"id": 7}], "row_count": 1}, settled=True)
    assert (claimed.status, claimed.bookings) == ("succeeded", [7])
    output = claimed.value("SELECT output FROM workflow.tasks WHERE id = %s", claimed.ctx.task_id)
    assert output == {"rows": [{"id": 7}], "row_count": 1}


async def test_a_failed_statement_leaves_the_task_running_for_the_worker_to_fail(run, claimed):
    error = await failure(run(params={"id": "seven"}))
    assert (error.type, error.retryable) == ("database.22P02", False)
    assert (claimed.status, claimed.bookings) == ("running", [])


@pytest.mark.parametrize(
    "change", [{"attempt": 2}, {"lease_token": "11111111-1111-4111-8111-111111111111"}, {"task_id": "1"}]
)
async def test_a_stale_lease_rolls_the_statement_back(run, claimed, change):
    error = await failure(run(replace(claimed.ctx, **change)))
    assert (error.type, error.retryable) == ("stale", False)
    assert (claimed.status, claimed.bookings) == ("running", [])


async def test_a_second_completion_of_the_same_attempt_repeats_nothing(run, claimed):
    await run()
    error = await failure(run(params={"id": 7}))
    assert error.type == "database.23505"
    assert (claimed.status, claimed.bookings) == ("succeeded", [7])


async def test_an_output_that_is_too_large_rolls_the_statement_back(run, claimed):
    statement = "INSERT INTO bookings (id) VALUES (1) RETURNING id, repeat('x', 2000) AS note"
    limit = {"WORKFLOW_MAX_PAYLOAD_BYTES": 1024}
    error = await failure(run(statement=statement, params=[], settings=limit))
    assert (error.type, error.retryable) == ("response_too_large", False)
    assert (claimed.status, claimed.bookings) == ("running", [])


async def test_the_role_of_the_step_may_complete_tasks_and_nothing_else_of_the_engine(run, claimed):
    for statement in (
        "SELECT * FROM workflow.tasks",
        "SELECT * FROM workflow.step_role",
        "UPDATE workflow.tasks SET status = 'succeeded'",
        "DELETE FROM procrastinate_jobs",
        "SELECT workflow.cancel('00000000-0000-0000-0000-000000000000', NULL)",
        "SELECT workflow.settle(NULL)",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY bookings FROM PROGRAM 'id'",
        "SET ROLE postgres",
        "CREATE ROLE other SUPERUSER",
    ):
        error = await failure(run(statement=statement, params=None))
        assert error.type in ("database.42501", "database.22023"), statement
    assert claimed.status == "running"


async def test_a_step_that_is_not_transactional_may_use_the_same_connection(run, claimed):
    outcome = await run(transactional=False, mode="execute")
    assert not outcome.settled
    assert (claimed.status, claimed.bookings) == ("running", [7])


async def test_without_its_role_the_connection_says_why(run):
    error = await failure(run(dsn=None))
    assert (error.type, error.retryable) == ("validation", False)
    assert "migrate" in error.message


@contextlib.asynccontextmanager
async def losing_the_reply_to_commit(dsn):
    """A proxy before Postgres that passes COMMIT on and hangs up once it is done. Yields the DSN through it."""
    server = conninfo_to_dict(dsn)
    committed = asyncio.Event()

    async def pump(reader, writer, *, from_client):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if not from_client and committed.is_set():
                    break  # the reply to COMMIT
                if from_client and b"COMMIT" in data:
                    committed.set()
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connect(reader, writer):
        behind_reader, behind_writer = await asyncio.open_connection(server["host"], server["port"])
        pumps = [pump(reader, behind_writer, from_client=True), pump(behind_reader, writer, from_client=False)]
        async with asyncio.TaskGroup() as group:
            for one in pumps:
                group.create_task(one)

    proxy = await asyncio.start_server(connect, "127.0.0.1", 0)
    try:
        port = proxy.sockets[0].getsockname()[1]
        yield make_conninfo(dsn, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable")
    finally:
        proxy.close()


async def test_a_connection_lost_in_commit_is_retryable_and_changes_nothing_twice(run, claimed, engine_dsn):
    async with losing_the_reply_to_commit(engine_dsn) as dsn:
        error = await failure(run(dsn=dsn))
    assert (error.type, error.retryable) == ("connection", True)
    assert "unknown" in error.message
    # It was committed: what the worker says about its failed attempt is stale, and nobody claims the task again.
    assert (claimed.status, claimed.bookings) == ("succeeded", [7])


async def test_what_is_stored_without_a_statement(http):
    async with Connections({}) as connections:
        handle = builtin_handlers(load_settings(), http=http, connections=connections)["database"].handle
        ctx = task_context(dependencies={"process": {"total": 3}})
        assert await handle({}, ctx) == Outcome({"stored": True}, record={"process": {"total": 3}})
        assert await handle({"connection": "engine", "transactional": True}, ctx) == await handle({}, ctx)
        assert await handle({"score": 5}, ctx) == Outcome({"stored": True}, record={"score": 5})


async def test_a_worker_runs_a_transactional_step_and_what_follows_it(settings, engine_dsn):
    async with await psycopg.AsyncConnection.connect(engine_dsn, autocommit=True) as owner:
        await owner.execute("CREATE TABLE bookings (id int PRIMARY KEY)")
    document = {
        "name": "booking",
        "steps": [
            {
                "id": "book",
                "type": "database",
                "statement": INSERT,
                "params": {"id": "${ input.id }"},
                "transactional": True,
            },
            {"id": "store", "type": "database", "depends_on": ["book"]},
        ],
    }
    definition = compile_definition(document, task_types=["database"])
    async with open_store(settings, "test") as store, load_handlers(settings) as handlers:
        await store.definitions.register(definition)
        [started], _ = await store.workflows.start([WorkflowStart("booking", input={"id": 7})])
        worker = Worker(settings, store, handlers, get_logger("test"))
        running = asyncio.create_task(worker.run())

        async def ended():
            workflow = await store.workflows.get(str(started.id))
            return workflow if workflow.finished_at else None

        try:
            workflow = await eventually_async(ended, timeout=30)
        finally:
            worker.drain()
            await running
        assert (workflow.status, workflow.error) == ("succeeded", None)
        record = await store.pool.value("SELECT data FROM workflow.records WHERE step = 'store'")
        assert record == {"book": {"rows": [{"id": 7}], "row_count": 1}}
        attempts = await store.pool.value("SELECT jsonb_agg(outcome) FROM workflow.attempt_history")
        assert attempts == ["succeeded", "succeeded"]
