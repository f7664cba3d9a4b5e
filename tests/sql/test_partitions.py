"""Events and attempts are partitioned by the time of their workflow: made ahead, dropped when none of them is kept."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from .engine import Engine

DAY = 86400.0
PARENTS = ("events", "attempt_history")


@pytest.fixture
def database(database_url: str) -> str:
    """A fresh one: partitions stay."""
    return database_url


def keep(engine: Engine, defaults: dict[str, float] | None = None) -> dict[str, int]:
    """Keep partitions until there is nothing to do; returns how much was done."""
    done = {"made": 0, "drained": 0}
    while True:
        found = engine.value("select workflow.keep_partitions(%s)", None if defaults is None else Jsonb(defaults))
        if not found["made"] and not found["drained"]:
            return {**done, "in_default": found["in_default"], "busy": found["busy"]}
        done = {key: done[key] + found[key] for key in done}


def hours(engine: Engine, parent: str = "events") -> list[int]:
    """How long the partitions are, in order; 0 for a gap."""
    rows = engine.rows(
        "select extract(epoch from workflow.time_of(upper) - workflow.time_of(lower))::integer / 3600 as hours,"
        " coalesce(lag(upper) over (order by lower) <> lower, false) as gap"
        " from workflow.history_partitions where parent = %s and upper is not null order by lower",
        parent,
    )
    return [0 if row["gap"] else row["hours"] for row in rows]


def forget_partitions(engine: Engine) -> None:
    """As after days without a leader: there is no partition for now."""
    for row in engine.rows("select name from workflow.history_partitions where upper is not null"):
        engine.run(f"drop table workflow.{row['name']}")
    engine.run("delete from workflow.history_partitions where upper is not null")


def in_default(engine: Engine) -> tuple[int, int]:
    events, attempts = (engine.value(f"select count(*) from workflow.{parent}_default") for parent in PARENTS)
    return events, attempts


def partition_of(engine: Engine, workflow: UUID, parent: str = "events") -> str:
    name: str = engine.value(
        f"select max(tableoid::regclass::text) from workflow.{parent} where workflow_id = %s having count(*) > 0",
        workflow,
    )
    return name.removeprefix("workflow.")


def run_one(engine: Engine, how: str = "succeeded") -> UUID:
    workflow = engine.start()
    engine.finish(*(getattr(c, how)() for c in engine.claim()))
    return workflow


def rename(engine: Engine, workflow: UUID, to: UUID) -> None:
    engine.run("update workflow.workflows set id = %s where id = %s", to, workflow)
    for table in ("tasks", *PARENTS):
        engine.run(f"update workflow.{table} set workflow_id = %s where workflow_id = %s", to, workflow)


def age(engine: Engine, workflow: UUID, days: int) -> UUID:
    """Make a workflow one that was started and ended so many days ago, in a partition of that day."""
    bounds = (
        f"workflow.id_at(date_trunc('hour', now()) - interval '{days * 24} hours'),"
        f" workflow.id_at(date_trunc('hour', now()) - interval '{days * 24 - 24} hours')"
    )
    for parent in PARENTS:
        engine.run(
            f"select workflow.make_partition(%s, {bounds}) where not exists (select 1 from workflow.history_partitions"
            " where parent = %s and lower = workflow.id_at(date_trunc('hour', now()) - make_interval(hours => %s)))",
            parent, parent, days * 24,
        )  # fmt: skip
    old: UUID = engine.value(
        "select overlay(%s::text placing left(workflow.id_at(now() - make_interval(hours => %s))::text, 14)"
        " from 1 for 14)::uuid",
        str(workflow), days * 24 - 12,
    )  # fmt: skip
    rename(engine, workflow, old)
    engine.run(
        "update workflow.workflows set finished_at = finished_at - make_interval(hours => %s) where id = %s",
        days * 24 - 12, old,
    )  # fmt: skip
    return old


def sweep(engine: Engine, defaults: dict[str, float]) -> int:
    deleted, more = 0, True
    while more:
        found = engine.value("select workflow.sweep_retention(%s)", Jsonb(defaults))
        deleted, more = deleted + found["deleted"], found["more"]
    return deleted


def drop_all(engine: Engine) -> list[str]:
    dropped = []
    while name := engine.value("select workflow.drop_partition()")["dropped"]:
        dropped.append(name)
    return dropped


def test_migrate_makes_partitions_ahead_for_both_tables(engine: Engine) -> None:
    assert hours(engine, "events") == hours(engine, "attempt_history") == [168, 168, 168]
    ahead = "select workflow.time_of(workflow.partitions_end(%s)) > now() + interval '7 days'"
    assert all(engine.value(ahead, parent) for parent in PARENTS)
    engine.define({"a": []})
    run_one(engine)
    assert in_default(engine) == (0, 0)
    assert keep(engine) == {"made": 0, "drained": 0, "in_default": 0, "busy": 0}


@pytest.mark.parametrize(
    ("days", "span"), [((0.1, 0.5), 6), ((1, 4), 24), ((1, 30), 168), ((30, 200), 672), ((30, None), 2184)]
)
def test_partitions_are_a_quarter_of_the_longest_retention_at_most(
    engine: Engine, days: tuple[float, float | None], span: int
) -> None:
    succeeded, failed = days
    engine.define({"a": []})
    defaults = {"succeeded": succeeded * DAY} | ({"failed": failed * DAY} if failed else {})
    assert engine.value("select workflow.partition_hours(%s)", Jsonb(defaults)) == span


def test_partitions_that_have_not_begun_follow_a_shorter_retention(engine: Engine) -> None:
    engine.define({"a": []})
    keep(engine, {"succeeded": 4 * DAY, "failed": 4 * DAY})
    for parent in PARENTS:
        this_week, *ahead = hours(engine, parent)
        assert this_week == 168
        assert set(ahead) <= {24}, "at the end of a week there are some, without gaps"
    assert keep(engine, {"succeeded": 4 * DAY, "failed": 4 * DAY})["made"] == 0


def test_partitions_stay_that_hold_workflows_of_a_clock_that_was_ahead(engine: Engine) -> None:
    """As after a failover to a server whose clock is right."""
    engine.define({"a": []})
    last_day = "workflow.time_of(workflow.partitions_end('events')) - interval '1 day'"
    ahead = engine.value(f"select workflow.id_at({last_day})")
    rename(engine, run_one(engine), ahead)
    before = engine.events(ahead)
    keep(engine, {"succeeded": 4 * DAY, "failed": 4 * DAY})
    assert engine.events(ahead) == before != []
    assert engine.value("select count(*) from workflow.attempt_history where workflow_id = %s", ahead) == 1


def test_two_leaders_at_once_make_partitions_once(engine: Engine, other: Engine) -> None:
    forget_partitions(engine)
    with other.transaction():
        assert other.value("select workflow.keep_partitions()")["made"] == 3
        assert engine.value("select workflow.keep_partitions()")["made"] == 3, "of the other table"
    assert keep(engine) == {"made": 0, "drained": 0, "in_default": 0, "busy": 0}
    assert hours(engine, "events") == hours(engine, "attempt_history") == [168, 168, 168]


def test_partitions_are_made_while_others_write(engine: Engine, other: Engine) -> None:
    engine.define({"a": []})
    forget_partitions(engine)
    keep(engine)
    last = "select name from workflow.history_partitions where parent = 'events' order by lower desc nulls last limit 1"
    name = engine.value(last)
    engine.run(f"drop table workflow.{name}")
    engine.run("delete from workflow.history_partitions where name = %s", name)
    with other.transaction():
        other.start()
        assert keep(engine) == {"made": 1, "drained": 0, "in_default": 0, "busy": 0}


def test_what_no_partition_was_there_for_gets_one_and_goes_on(engine: Engine) -> None:
    engine.define({"a": [], "b": ["a"]})
    forget_partitions(engine)
    ended, live = run_one(engine), engine.start()
    engine.finish(*(c.succeeded() for c in engine.claim()))
    assert in_default(engine) == (11, 3)
    log = "select seq, type from workflow.workflow_log where workflow_id = %s order by seq"
    before = {workflow: engine.rows(log, workflow) for workflow in (ended, live)}
    steps = 0
    while (done := engine.value("select workflow.keep_partitions()"))["drained"] or done["made"]:
        steps += done["drained"]
        engine.start()  # nothing is refused in between
    assert steps == 6, "for each table: bounds, their check, the exchange"
    assert in_default(engine) == (0, 0)
    assert {workflow: engine.rows(log, workflow) for workflow in (ended, live)} == before
    assert partition_of(engine, live).startswith("events_until_")
    assert partition_of(engine, live, "attempt_history").startswith("attempt_history_until_")
    while claims := engine.claim():
        engine.finish(*(c.succeeded() for c in claims))
    assert in_default(engine) == (0, 0)
    assert keep(engine)["made"] == 0


def test_what_comes_while_partitions_are_made_is_left_to_the_next_look(
    engine: Engine, other: Engine, blocked: Callable[..., Future[Any]]
) -> None:
    engine.define({"a": []})
    forget_partitions(engine)
    engine.run("alter function workflow.keep_partitions(jsonb) set lock_timeout = '20s'")
    other.run("begin")
    workflow = other.start()
    making = blocked(engine, lambda: engine.value("select workflow.keep_partitions()"))
    other.run("commit")
    assert making.result()["busy"] == 1
    keep(engine)
    assert in_default(engine) == (0, 0)
    assert engine.events(workflow) == ["workflow.created"]


def test_bounds_that_nobody_came_to_the_end_of_are_taken_off(engine: Engine) -> None:
    """They must not refuse what comes later."""
    engine.define({"a": []})
    forget_partitions(engine)
    run_one(engine)
    engine.run(
        "alter table workflow.events_default add constraint bounds check ("
        "workflow_id >= '00000000-0000-0000-0000-000000000000'"
        " and workflow_id < '01000000-0000-0000-0000-000000000000') not valid"
    )
    assert engine.value("select workflow.keep_partitions()")["drained"] == 1
    run_one(engine)
    keep(engine)
    assert in_default(engine) == (0, 0)


def test_rows_from_before_the_partitions_are_moved_into_one(engine: Engine) -> None:
    engine.define({"a": []})
    workflow = run_one(engine)
    old = "01000000-0000-7000-8000-000000000000"
    engine.run("insert into workflow.events (workflow_id, type, at) values (%s, 'workflow.created', now())", old)
    assert in_default(engine) == (1, 0)
    engine.run("create table public.moved (mine text)")  # what others have in their schema is not in the way
    assert keep(engine)["drained"] == 1
    assert in_default(engine) == (0, 0)
    assert partition_of(engine, UUID(old)) != partition_of(engine, workflow)


def test_a_partition_is_dropped_when_all_of_it_is_over_its_time(engine: Engine) -> None:
    engine.define({"a": []})
    defaults = {"succeeded": 9 * DAY, "failed": 9 * DAY}
    gone, stays = age(engine, run_one(engine), 10), age(engine, run_one(engine), 10)
    engine.run("update workflow.workflows set finished_at = now() where id = %s", stays)
    today = run_one(engine)
    partition = partition_of(engine, gone)
    assert sweep(engine, defaults) == 1
    assert engine.value("select array_agg(id) from workflow.workflows where id <> %s", today) == [stays]
    assert len(engine.events(gone)) == 5, "they wait for the drop"
    assert drop_all(engine) == []
    assert engine.value("select workflow.clean_partition(%s)", Jsonb(defaults)) is None, "it is expected"

    engine.set_clock("10 days")
    assert sweep(engine, defaults) == 2
    assert sorted(drop_all(engine)) == sorted([partition, partition.replace("events", "attempt_history")])
    assert engine.events(gone) == engine.events(stays) == []
    assert len(engine.events(today)) == 5, "of today's partition the time is to come"
    assert in_default(engine) == (0, 0)


def test_what_was_left_to_a_drop_that_does_not_come_is_cleaned(engine: Engine) -> None:
    engine.define({"a": []})
    defaults = {"succeeded": 9 * DAY, "failed": 9 * DAY}
    gone = [age(engine, run_one(engine), 10) for _ in range(3)]
    live = age(engine, engine.start(), 10)
    assert sweep(engine, defaults) == 3
    assert len(engine.events(gone[0])) == 5
    engine.set_clock("3 days")
    cleaned = []
    while (rows := engine.value("select workflow.clean_partition(%s)", Jsonb(defaults))) is not None:
        cleaned.append(rows)
    assert sorted(cleaned) == [3, 15]
    assert [engine.events(workflow) for workflow in gone] == [[], [], []]
    assert engine.events(live) == ["workflow.created"]
    assert drop_all(engine) == []


def test_with_mixed_retention_events_and_attempts_go_with_their_workflow(engine: Engine) -> None:
    engine.define({"a": []})
    gone, stays = age(engine, run_one(engine), 10), age(engine, run_one(engine, "failed"), 10)
    assert sweep(engine, {"succeeded": 9 * DAY, "failed": 90 * DAY}) == 1
    assert engine.events(gone) == []
    assert len(engine.events(stays)) == 5
    assert engine.value("select count(*) from workflow.attempt_history") == 1
    assert engine.value("select bool_or(left_over) from workflow.history_partitions") is False


def test_a_drop_does_not_wait_for_those_who_write(engine: Engine, other: Engine) -> None:
    engine.define({"a": []})
    age(engine, run_one(engine), 11)
    sweep(engine, {"succeeded": 9 * DAY, "failed": 9 * DAY})
    with other.transaction():
        other.start()
        other.run("lock table workflow.attempt_history in row exclusive mode")
        assert engine.value("select workflow.drop_partition()") == {"dropped": None, "busy": 1}
    assert len(drop_all(engine)) == 2


def test_a_workflow_begun_in_a_partition_that_is_to_be_dropped_keeps_it(engine: Engine, other: Engine) -> None:
    engine.define({"a": []})
    age(engine, run_one(engine), 11)
    sweep(engine, {"succeeded": 9 * DAY, "failed": 9 * DAY})
    late = age(engine, run_one(other), 11)
    assert drop_all(engine) == []
    assert len(engine.events(late)) == 5
    assert sweep(engine, {"succeeded": 9 * DAY, "failed": 9 * DAY}) == 0, "not at once"
    engine.set_clock("1 day")
    assert sweep(engine, {"succeeded": 9 * DAY, "failed": 9 * DAY}) == 1
    assert len(drop_all(engine)) == 2


def test_a_workflow_that_is_committed_while_a_drop_waits_keeps_its_events(
    engine: Engine, other: Engine, blocked: Callable[..., Future[Any]]
) -> None:
    engine.define({"a": []})
    gone = age(engine, run_one(engine), 11)
    partition = partition_of(engine, gone)
    sweep(engine, {"succeeded": 9 * DAY, "failed": 9 * DAY})
    other.run("begin")
    late = age(other, run_one(other), 11)
    engine.run("alter function workflow.drop_partition() set lock_timeout = '20s'")
    drop = blocked(engine, lambda: engine.value("select workflow.drop_partition()"))
    other.run("commit")
    assert drop.result() == {"dropped": None, "busy": 1}
    assert partition_of(engine, late) == partition
    assert len(engine.events(late)) == 5


def executed(engine: Engine, query: str, workflow: UUID) -> dict[str, set[str]]:
    """Which partitions a query reads with a plan that was made for any workflow."""
    engine.run("set plan_cache_mode = force_generic_plan")
    engine.run(f"prepare look(uuid) as {query}")
    plan = engine.rows(f"explain (analyze, costs off, timing off, summary off) execute look('{workflow}')")
    engine.run("deallocate look")
    engine.run("reset plan_cache_mode")
    lines = [row["QUERY PLAN"] for row in plan if "never executed" not in row["QUERY PLAN"]]
    words = {word for line in lines for word in line.split()}
    return {parent: {word for word in words if word.startswith(f"{parent}_") and word.rsplit("_", 1)[-1].isdigit()}
            for parent in PARENTS}  # fmt: skip


@pytest.mark.parametrize(
    "query",
    [
        "select * from workflow.workflow_log where workflow_id = $1",
        "select a.* from workflow.tasks t cross join lateral (select a.* from workflow.attempts a"
        " where a.workflow_id = $1 and a.task_id = t.id offset 0) a where t.workflow_id = $1",
    ],
)
def test_looking_up_a_workflow_reads_one_partition(engine: Engine, query: str) -> None:
    engine.define({"a": []})
    workflow = run_one(engine)
    found = executed(engine, query, workflow)
    assert all(len(names) <= 1 for names in found.values()), found
    assert any(found.values())
