"""`database` steps on a real PostgreSQL: what they return, refuse and leave behind."""

import asyncio
import socket
import time
import tracemalloc

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from support.eventually import eventually_async

from workflow_engine.errors import TaskError
from workflow_engine.handlers.builtin import builtin_handlers
from workflow_engine.handlers.connections import Connections
from workflow_engine.settings import DatabaseConnection, load_settings
from workflow_engine.testing import task_context


@pytest.fixture
def shop_url(database_url):
    """The test's database, where the schema of users comes first."""
    return make_conninfo(database_url, options="-c search_path=public")


@pytest.fixture
def admin(shop_url):
    """A connection of the test's own, to look at what happened."""
    with psycopg.connect(shop_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE orders (id int PRIMARY KEY, total numeric, note text, doc jsonb)")
        yield connection


@pytest.fixture
async def connections(shop_url):
    async with Connections({"shop": DatabaseConnection(url=shop_url, size=2)}) as connections:
        yield connections


@pytest.fixture
def run(http, connections, admin):
    async def run(statement=None, params=None, *, ctx=None, settings=None, **inputs):
        handlers = builtin_handlers(load_settings(**(settings or {})), http=http, connections=connections)
        given = {"statement": statement, "params": params}
        inputs = {"connection": "shop", **{name: value for name, value in given.items() if value is not None}, **inputs}
        return (await handlers["database"].handle(inputs, ctx or task_context())).output

    return run


async def failure(awaitable):
    with pytest.raises(TaskError) as caught:
        await awaitable
    return caught.value


def orders(admin):
    return [row[0] for row in admin.execute("SELECT id FROM orders ORDER BY id").fetchall()]


INSERT = "INSERT INTO orders (id) VALUES (%(id)s)"


async def test_a_query_returns_rows_as_objects_and_their_number(run):
    output = await run("SELECT n, n * 2 AS double FROM generate_series(1, 3) n")
    rows = [{"n": 1, "double": 2}, {"n": 2, "double": 4}, {"n": 3, "double": 6}]
    assert output == {"rows": rows, "row_count": 3}


async def test_no_rows_are_an_empty_list(run):
    assert await run("SELECT * FROM orders") == {"rows": [], "row_count": 0}


async def test_every_kind_of_column_becomes_json(run):
    output = await run(
        """SELECT 1::int8 AS int, 2.50::numeric AS price, sum(n) AS sum, 'NaN'::float8 AS nan, true AS yes,
                  NULL::text AS nothing, '2026-01-02 03:04:05+00'::timestamptz AT TIME ZONE 'UTC' AS local,
                  '2026-01-02'::date AS day, '90 seconds'::interval AS span, '\\x00ff'::bytea AS raw,
                  '00000000-0000-0000-0000-000000000001'::uuid AS id, ARRAY[1.5, 2]::numeric[] AS list,
                  '{"a": [1.5, null]}'::jsonb AS doc, '10.0.0.0/8'::cidr AS net, 'a'::"char" AS letter
           FROM generate_series(1, 3) n"""
    )
    assert output["rows"] == [
        {
            "int": 1,
            "price": "2.50",
            "sum": 6,
            "nan": "NaN",
            "yes": True,
            "nothing": None,
            "local": "2026-01-02T03:04:05",
            "day": "2026-01-02",
            "span": 90.0,
            "raw": {"base64": "AP8="},
            "id": "00000000-0000-0000-0000-000000000001",
            "list": ["1.5", 2],
            "doc": {"a": [1.5, None]},
            "net": "10.0.0.0/8",
            "letter": "a",
        }
    ]


@pytest.mark.parametrize(
    ("statement", "params"),
    [
        ("SELECT %s::int + %s AS n, %s::text AS t", [40, 2, "x' OR 1=1 --"]),
        ("SELECT %(a)s::int + %(b)s AS n, %(t)s::text AS t", {"a": 40, "b": 2, "t": "x' OR 1=1 --", "unused": 1}),
    ],
)
async def test_parameters_are_values_and_never_sql(run, statement, params):
    assert (await run(statement, params))["rows"] == [{"n": 42, "t": "x' OR 1=1 --"}]


async def test_without_parameters_a_percent_sign_is_itself(run):
    assert (await run("SELECT 'abc' LIKE 'a%' AS yes, 7 % 4 AS rest"))["rows"] == [{"yes": True, "rest": 3}]


@pytest.mark.parametrize("doc", [{"a": [1, {"b": None}]}, [], [1, "two", {"three": 3}], {}])
async def test_objects_and_lists_are_stored_as_json(run, admin, doc):
    await run("INSERT INTO orders (id, doc) VALUES (1, %(doc)s)", {"doc": doc}, mode="execute")
    assert admin.execute("SELECT doc FROM orders").fetchone() == (doc,)


async def test_a_list_selects_rows_as_the_manual_says(run, admin):
    admin.execute("INSERT INTO orders (id) VALUES (1), (2), (3)")
    statement = "SELECT id FROM orders WHERE id IN (SELECT jsonb_array_elements_text(%(ids)s)::int) ORDER BY id"
    assert (await run(statement, {"ids": [1, 3]}))["rows"] == [{"id": 1}, {"id": 3}]


async def test_a_query_cannot_write(run, admin):
    error = await failure(run(INSERT, {"id": 1}))
    assert (error.type, error.retryable) == ("database.25006", False)
    assert '"mode": "execute"' in error.message
    assert orders(admin) == []


@pytest.mark.parametrize("first", ["SET TRANSACTION READ WRITE", "SET transaction_read_only = off"])
async def test_a_query_cannot_lift_its_own_ban(run, admin, first):
    error = await failure(run(statements=[first, "INSERT INTO orders (id) VALUES (1) RETURNING id"]))
    assert not error.retryable
    assert orders(admin) == []


async def test_execute_writes_and_counts(run, admin):
    assert await run(INSERT, {"id": 1}, mode="execute") == {"rows": [], "row_count": 1}
    output = await run("UPDATE orders SET note = 'paid' RETURNING id, note", mode="execute")
    assert output == {"rows": [{"id": 1, "note": "paid"}], "row_count": 1}


async def test_several_statements_are_one_transaction(run, admin):
    statements = [{"statement": INSERT, "params": {"id": 1}}, "SELECT count(*) AS n FROM orders"]
    output = await run(statements=statements, mode="execute")
    assert output == {"results": [{"rows": [], "row_count": 1}, {"rows": [{"n": 1}], "row_count": 1}]}
    error = await failure(
        run(statements=["INSERT INTO orders (id) VALUES (2)", "INSERT INTO orders (id) VALUES (1)"], mode="execute")
    )
    assert error.type == "database.23505"
    assert orders(admin) == [1]


@pytest.mark.parametrize("mode", ["query", "execute"])
async def test_a_second_statement_in_one_text_is_refused_by_the_protocol(run, admin, mode):
    error = await failure(run("SELECT 1; DROP TABLE orders", mode=mode))
    assert (error.type, error.retryable) == ("database.42601", False)
    assert orders(admin) == []


@pytest.mark.parametrize(
    "statement", ["COMMIT", "commit and chain", "/* x */ ROLLBACK", ";END", "PREPARE TRANSACTION 'x'", "SAVEPOINT a"]
)
async def test_a_step_cannot_control_its_transaction(run, statement):
    error = await failure(run(statements=["SELECT 1", statement], mode="execute"))
    assert (error.type, error.retryable) == ("validation", False)
    assert "transaction" in error.message


async def test_the_error_of_a_constraint_names_it_and_no_values(run, admin):
    admin.execute("INSERT INTO orders (id) VALUES (4711)")
    error = await failure(run(INSERT, {"id": 4711}, mode="execute"))
    assert (error.type, error.retryable) == ("database.23505", False)
    facts = {"sqlstate": "23505", "schema": "public", "table": "orders", "constraint": "orders_pkey"}
    assert error.details == facts
    assert "4711" not in str(error.as_json(1))


async def test_a_constraint_checked_at_commit_is_a_failure_too(run, admin):
    admin.execute("CREATE TABLE late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    error = await failure(run("INSERT INTO late VALUES (1), (1)", mode="execute"))
    assert error.type == "database.23505"


@pytest.mark.parametrize(
    ("statement", "params"),
    [
        ("SELECT %s", []),
        ("SELECT %s", {"a": 1}),
        ("SELECT %(a)s", {"b": 1}),
        ("SELECT %s", ["a\x00b"]),
        ("SELECT 1", [2]),
    ],
)
async def test_parameters_that_do_not_fit_are_refused(run, statement, params):
    error = await failure(run(statement, params))
    assert (error.type, error.retryable) == ("validation", False)


async def test_a_result_with_too_many_rows_is_an_error_and_is_not_read_to_its_end(run):
    tracemalloc.start()
    began = time.process_time()
    try:
        error = await failure(run("SELECT n, repeat('x', 100) AS t FROM generate_series(1, 5000000) n", max_rows=10))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (error.type, error.retryable) == ("result_too_large", False)
    assert peak < 5_000_000
    assert time.process_time() - began < 5
    assert len((await run("SELECT n FROM generate_series(1, 10) n", max_rows=10))["rows"]) == 10


@pytest.mark.parametrize("mode", ["query", "execute"])
async def test_a_result_with_too_many_bytes_is_an_error(run, mode):
    limit = {"WORKFLOW_MAX_PAYLOAD_BYTES": 10_000}
    statement = "SELECT repeat('x', 1000) AS t FROM generate_series(1, 20)"
    error = await failure(run(statement, mode=mode, settings=limit))
    assert (error.type, error.retryable) == ("response_too_large", False)


async def test_columns_of_one_name_are_refused(run):
    error = await failure(run("SELECT 1 AS id, 2 AS id"))
    assert (error.type, error.retryable) == ("validation", False)
    assert "AS" in error.message


async def test_a_statement_ends_with_the_attempts_time(run):
    error = await failure(run("SELECT pg_sleep(30)", ctx=task_context(timeout=0.2)))
    assert (error.type, error.retryable) == ("timeout", True)


async def test_statements_share_the_attempts_time(run):
    statements = ["SELECT pg_sleep(0.3)", "SELECT pg_sleep(0.3)"]
    error = await failure(run(statements=statements, ctx=task_context(timeout=0.5)))
    assert error.type == "timeout"


async def test_a_cancelled_attempt_stops_the_query_on_the_server(run, admin):
    def sleepers():
        query = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(61)' AND state = 'active'"
        return admin.execute(query).fetchone()[0]

    async def sleeping():
        return sleepers() == 1

    async def gone():
        return sleepers() == 0

    attempt = asyncio.create_task(run("SELECT pg_sleep(61)", ctx=task_context(timeout=90)))
    await eventually_async(sleeping)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    await eventually_async(gone)


async def test_nothing_a_step_set_reaches_the_next(run):
    await run("SELECT set_config('search_path', 'nowhere', false), pg_advisory_lock(5)")
    await run("CREATE TEMP TABLE mine (id int)", mode="execute")
    for _ in range(2):
        output = await run(
            """SELECT current_setting('search_path') AS path, to_regclass('mine') AS mine,
                      (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 5) AS locks"""
        )
        assert output["rows"] == [{"path": "public", "mine": None, "locks": 0}]


async def test_a_connection_is_used_again(run):
    first, second = [await run("SELECT pg_backend_pid() AS pid") for _ in range(2)]
    assert first == second


async def test_a_connection_that_died_idle_is_replaced(run, admin):
    [row] = (await run("SELECT pg_backend_pid() AS pid"))["rows"]
    admin.execute("SELECT pg_terminate_backend(%s, 5000)", [row["pid"]])
    [other] = (await run("SELECT pg_backend_pid() AS pid"))["rows"]
    assert other != row


async def test_a_connection_that_dies_under_a_statement_is_worth_another_attempt(run):
    error = await failure(run("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert error.type in ("database.57P01", "connection")
    assert error.retryable
    assert (await run("SELECT 1 AS n"))["rows"] == [{"n": 1}]


async def test_more_steps_than_connections_take_turns(run, admin):
    statement = "SELECT pg_sleep(0.05), (SELECT count(*) FROM pg_stat_activity WHERE application_name = %(me)s) AS n"
    me = {"me": "workflow-engine step (shop)"}
    outputs = await asyncio.gather(*(run(statement, me) for _ in range(7)))
    assert max(output["rows"][0]["n"] for output in outputs) == 2


async def test_a_lock_wait_that_postgres_ends_is_worth_another_attempt(run, admin, shop_url):
    admin.execute("INSERT INTO orders (id) VALUES (1)")
    with psycopg.connect(shop_url) as holder:
        holder.execute("SELECT * FROM orders FOR UPDATE")
        error = await failure(run("SELECT * FROM orders FOR UPDATE NOWAIT", mode="execute"))
    assert (error.type, error.retryable) == ("database.55P03", True)


async def test_a_database_that_cannot_be_reached_is_told_at_once(http, database_url):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = make_conninfo(database_url, host="127.0.0.1", port=unused.getsockname()[1])
        wrong = make_conninfo(database_url, user="nobody", password="wrong")
        named = {"nowhere": DatabaseConnection(url=nowhere), "wrong": DatabaseConnection(url=wrong)}
        async with Connections(named) as connections:
            handle = builtin_handlers(load_settings(), http=http, connections=connections)["database"].handle
            for name, reason in (("nowhere", "refused"), ("wrong", "nobody")):
                error = await failure(handle({"connection": name, "statement": "SELECT 1"}, task_context()))
                assert (error.type, error.retryable) == ("connection", True)
                assert reason in error.message


@pytest.fixture
def bounded(http, admin, shop_url):
    """Runs a step on a connection with these bounds."""

    async def bounded(statement, bounds, *, strict=False, url=shop_url, **inputs):
        async with Connections({"shop": DatabaseConnection(url=url, **bounds)}, strict=strict) as connections:
            handlers = builtin_handlers(load_settings(), http=http, connections=connections)
            inputs = {"connection": "shop", "statement": statement, **inputs}
            return (await handlers["database"].handle(inputs, task_context())).output

    return bounded


async def test_the_operator_bounds_what_steps_do_on_a_connection(bounded, admin):
    many = "SELECT n FROM generate_series(1, 100) n"
    assert (await bounded(many, {"max_rows": 100}))["row_count"] == 100
    error = await failure(bounded(many, {"max_rows": 10}, max_rows=1000))
    assert (error.type, "'shop' gives no more" in error.message) == ("result_too_large", True)
    error = await failure(bounded("SELECT pg_sleep(30)", {"statement_seconds": 0.1}))
    assert (error.type, error.retryable) == ("timeout", True)
    error = await failure(bounded("DELETE FROM orders", {"read_only": True}, mode="execute"))
    assert (error.type, "for reading only" in error.message) == ("validation", True)


async def test_a_role_that_may_do_too_much_is_refused_in_production_and_told_in_development(
    bounded, admin, shop_url, capsys
):
    admin.execute("CREATE ROLE careful LOGIN PASSWORD 'careful'")
    try:
        admin.execute("GRANT SELECT ON orders TO careful")
        careful = make_conninfo(shop_url, user="careful", password="careful")
        assert await bounded("SELECT id FROM orders", {}, strict=True, url=careful) == {"rows": [], "row_count": 0}
        superuser = await failure(bounded("SELECT 1 AS n", {}, strict=True))
        admin.execute("GRANT pg_read_server_files TO careful")
        reader = await failure(bounded("SELECT 1 AS n", {}, strict=True, url=careful))
        admin.execute("REVOKE pg_read_server_files FROM careful")
        admin.execute("GRANT UPDATE ON workflow.tasks TO careful")
        owner = await failure(bounded("SELECT 1 AS n", {}, strict=True, url=careful))
        assert [error.type for error in (superuser, reader, owner)] == ["validation"] * 3
        for error in (superuser, reader):
            assert "run programs or read files on the server" in error.message
        assert "change the tables of the engine" in owner.message
        assert (await bounded("SELECT 1 AS n", {}, url=careful))["row_count"] == 1
        assert "connection may do too much" in capsys.readouterr().out
    finally:
        admin.execute("DROP OWNED BY careful")
        admin.execute("DROP ROLE careful")


async def test_an_unknown_connection_is_refused_with_the_known_ones(run):
    error = await failure(run("SELECT 1", connection="shpo"))
    assert (error.type, error.retryable) == ("validation", False)
    assert "Known: shop." in error.message


@pytest.mark.parametrize(
    "inputs",
    [
        {"statement": "SELECT 1", "statements": ["SELECT 1"]},
        {"statements": []},
        {"statements": ["SELECT 1"], "params": [1]},
        {"statement": "SELECT 1", "mode": "write"},
        {"statement": "SELECT 1", "max_rows": 0},
        {"statement": "SELECT 1", "limit": 5},
        {"statement": "SELECT 1", "transactional": True},
        {"statement": "SELECT 1", "connection": "engine", "transactional": True, "mode": "query"},
        {"connection": "shop"},
        {"connection": "engine", "params": [1]},
    ],
)
async def test_inputs_that_make_no_sense_are_refused(run, inputs):
    error = await failure(run(**inputs))
    assert (error.type, error.retryable) == ("validation", False)
