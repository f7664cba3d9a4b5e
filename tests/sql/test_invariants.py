"""The view of broken invariants sees what it is for: each of them is broken by hand once."""

import re
from uuid import UUID

from support.invariants import assert_sound

from workflow_engine.store.migrate import sql_directory

from .engine import Engine
from .scenes import set_scene

FINISHED = "finished_at = greatest(workflow.clock(), started_at), lease_token = null, lease_until = null"
LATE = "workflow.clock() - interval '2 minutes'"
TASK = "update workflow.tasks set"
WORKFLOW = "update workflow.workflows set"
JOB = "update workflow.jobs j set"
EVENT = "insert into workflow.events (workflow_id, task_id, type, at)"
ATTEMPT = "insert into workflow.attempt_history"
HOLD = "insert into workflow.holds (kind, key, task_id, attempt, workflow_id, scope, units, acquired_at)"
PLACE = "insert into workflow.places (key, workflow_id, capacity, priority, entered_at)"

# {name} is the id of that step's task, {workflow} the workflow in which most of them are.
BREAK = {
    "no open task in a workflow that ended":
        [f"{WORKFLOW} status = 'cancelled', finished_at = workflow.clock() where id = {{workflow}}"],
    "a live workflow has an open task":
        [f"{TASK} status = 'cancelled', {FINISHED} where workflow_id = {{workflow}} and finished_at is null"],
    "a live workflow counts the open tasks that nothing open waits for":
        [f"{WORKFLOW} open_tasks = open_tasks + 1 where id = {{workflow}}"],
    "a blocked task counts the dependencies that have not ended":
        [f"{TASK} open_dependencies = open_dependencies + 1 where id = {{behind}}"],
    "a blocked task counts each dependency that has ended as one thing":
        [f"{TASK} skipped_dependencies = 1 where id = {{behind}}"],
    "no task is blocked by nothing": [f"{TASK} open_dependencies = 0 where id = {{behind}}"],
    "a task that waits for all of its dependencies runs after them":
        [f"{TASK} status = 'pending' where id = {{behind}}"],
    "no counter is negative": [f"{TASK} crashes = -1 where id = {{run}}"],
    "a task that was replaced is gone":
        ["insert into workflow.replaced_tasks select id, workflow_id, version_id, step_index, workflow.clock()"
         " from workflow.tasks where id = {run}"],
    "a task that waits for others has no deadline":
        ["insert into workflow.deadlines values ({behind}, 'schedule_to_close', workflow.clock(), 1, 0)"],
    "what is over its time is ended":
        [f"{WORKFLOW} deadline = {LATE} where id = {{workflow}}",
         f"insert into workflow.deadlines values ({{run}}, 'schedule_to_close', {LATE}, 1, 0)"],
    "a task that waits for a worker or has one has exactly its job":
        ["delete from workflow.jobs j using workflow.tasks t where t.id = {run} and j.id = t.job_id",
         f"{JOB} status = 'doing' from workflow.tasks t where t.id = {{held}} and j.id = t.job_id",
         f"{JOB} scheduled_at = null from workflow.tasks t where t.id = {{later}} and j.id = t.job_id",
         "delete from workflow.jobs j using workflow.tasks t where t.id = {nap} and j.id = t.job_id"],
    "no job without its task": [f"{TASK} job_id = null where id = {{run}}"],
    "jobs are in our table, and cause nothing in procrastinate's":
        ["insert into procrastinate_jobs (task_name, queue_name) values ('workflow:noop', 'default')"],
    "a lease that has run out is taken back": [],  # not within two minutes after a start of Postgres
    "what is due is woken": [f"{TASK} scheduled_at = {LATE} where id = {{nap}}"],
    "attempts are claims":
        [f"{TASK} attempt = attempt + 1 where id = {{run}}",
         "delete from workflow.events where task_id = {run} and type = 'task.started'",
         "delete from workflow.attempt_history where task_id = {done}"],
    "a success is recorded once, or the task was reopened":
        [f"{ATTEMPT} select task_id, attempt + 1, workflow_id, outcome, worker_id, lease_token,"
         f" pending_since, started_at, ended_at, error from workflow.attempt_history where task_id = {{done}}"],
    "a task that succeeded by itself did so in its last attempt":
        ["update workflow.attempt_history set outcome = 'lost' where task_id = {done}",
         f"{TASK} attempt = 2 where id = {{done}}"],
    "a task of which an attempt succeeded has succeeded, or was reopened":
        [f"{TASK} status = 'failed' where id = {{done}}", f"{TASK} output_from = 'operator' where id = {{done}}"],
    "an attempt begins when the one before has ended":
        [f"{EVENT} values ({{workflow}}, {{run}}, 'task.started', now())"],
    "a task that ran or ended is what its last event says":
        [f"{EVENT} values ({{workflow}}, {{done}}, 'task.failed', now())",
         f"{EVENT} values ({{workflow}}, {{run}}, 'task.lost', now())"],
    "events belong to tasks":
        [f"{EVENT} values ({{workflow}}, 1, 'task.started', now())"],
    "attempts belong to tasks": ["update workflow.attempt_history set task_id = 1 where task_id = {done}"],
    "what was logged belongs to an attempt that ended": ["insert into workflow.task_logs values ({run}, 1, '[]')"],
    "a step is undone once for each time that it was done":
        [f"{ATTEMPT} select {{undo}}, n, workflow_id, 'succeeded', worker_id, lease_token,"
         " pending_since, started_at, ended_at, error from workflow.attempt_history, generate_series(1, 2) n"
         " where task_id = {did}"],
    "a parked task has a reason": ["delete from workflow.waits where task_id = {held}"],
    "no lock or unit is held without a running attempt or a live workflow":
        ["update workflow.holds set attempt = 2 where task_id = {run}",
         f"{HOLD} select 'lock', 'w', id, 1, workflow_id, 'workflow', 1, now()"
         " from workflow.tasks where id = {ended}"],
    "a running attempt holds what its step names": ["delete from workflow.holds where task_id = {run}"],
    "a lock has one holder": [f"{HOLD} values ('lock', 'x', {{held}}, 1, {{workflow}}, 'task', 1, now())"],
    "no more of a limit is taken than there is": ["update workflow.holds set units = 3 where kind = 'limit'"],
    "who waits is pending":
        [f"{TASK} status = 'blocked' where id = {{held}}",
         "update workflow.waits set task_id = 1 where task_id = {held}"],
    "nobody waits for a lock that its own workflow holds as a whole":
        ["update workflow.holds set scope = 'workflow' where task_id = {run}"],
    "a live workflow is in line for some key or for none":
        [f"{WORKFLOW} queued_at = now() where id = {{workflow}}",
         "delete from workflow.places where entered_at is null"],
    "a workflow enters all of its keys together":
        [f"{PLACE} select 'two', workflow_id, 1, 0, null from workflow.places where entered_at is not null"],
    "only live workflows have places": [
        f"{PLACE} values ('two', gen_random_uuid(), 1, 0, now())",
        f"{PLACE} select 'two', workflow_id, 1, 0, now() from workflow.tasks where id = {{ended}}"],
    "who waits while a place is free is paused, or lacks one elsewhere":
        ["delete from workflow.places where entered_at is not null"],
    "nothing of a workflow in line runs":
        [f"{WORKFLOW} queued_at = now(), started_at = null where id = {{workflow}}"],
    "a task that waits says for what, and one that ended for nothing":
        [f"{TASK} awaits = null where id = {{sig}}", f"{TASK} awaits = '{{{{}}}}' where id = {{done}}"],
    "a task that waits for a time has one": [f"{TASK} scheduled_at = null where id = {{nap}}"],
    "a task that waits for a child has one": [f"{WORKFLOW} parent_task_id = 1 where parent_task_id = {{kid}}"],
    "a child that has ended is not waited for, unless the leader is to say so":
        [f"{WORKFLOW} status = 'succeeded', finished_at = now() where parent_task_id = {{kid}}"],
    "a child knows its parent, and those above it":
        [f"{WORKFLOW} depth = 7 where parent_task_id = {{kid}}",
         f"{WORKFLOW} root_id = id where parent_task_id = {{kid}}",
         f"{WORKFLOW} parent_id = id where parent_task_id = {{kid}}"],
    "a child does not outlive its parent, unless it is abandoned or the leader is to cancel it":
        [f"{WORKFLOW} status = 'failed', finished_at = workflow.clock() where id = {{workflow}}"],
    "a task that waits for a signal has its place": ["delete from workflow.signal_waits"],
    "only who waits for a signal, or was just resumed, has a place":
        [f"{TASK} awaits = '{{{{\"kind\": \"timer\"}}}}' where id = {{sig}}",
         "update workflow.signal_waits set task_id = 1 where task_id = {sig}"],
    "a signal is kept for a task that waits for it, or taken by one that ended with it":
        ["insert into workflow.signals (workflow_id, name, at, taken_by) values ({workflow}, 'other', now(), {run})"],
    "a free signal is not waited for":
        ["insert into workflow.signals (workflow_id, name, at) values ({workflow}, 'go', now())"],
    "a task that waits for an approval has asked": ["delete from workflow.approvals"],
    "only who waits for an approval, or was just resumed, has one open":
        ["update workflow.approvals set task_id = {run}", "update workflow.approvals set task_id = 1"],
    "a running scope counts the open tasks in it that nothing open waits for":
        ["update workflow.scopes set open_tasks = 2 where status = 'running'"],
    "a running scope has an open task":
        [f"{TASK} status = 'cancelled', {FINISHED} where id in ({{in}}, {{out}})"],
    "an open task inside stands in a running scope":
        ["update workflow.scopes set status = 'failed', finished_at = now() where status = 'running'",
         "delete from workflow.scopes where status = 'running'"],
    "a task that waits for scopes counts those that are open": ["update workflow.groups set open = 2"],
    "a group starts as many scopes as it may": ["update workflow.groups set width = 2"],
    "only an open task that has waited has scopes open":
        [f"{TASK} status = 'failed', {FINISHED} where id = {{each}}", f"{TASK} awaits = null where id = {{each}}"],
    "an ending runs one handler, and a handler runs in an ending":
        ["delete from workflow.endings", f"{TASK} status = 'cancelled', {FINISHED} where id = {{undo}}",
         f"{WORKFLOW} ending = 'failed' where id = {{workflow}}"],
}  # fmt: skip


def broken(engine: Engine, statement: str) -> set[str]:
    """What the view says after a statement, which is taken back."""
    with engine.transaction():
        engine.run("savepoint before")
        assert engine.run(statement) > 0, statement
        found = {row["invariant"] for row in engine.rows("select invariant from workflow.invariant_violations")}
        engine.run("rollback to savepoint before")
    return found


def test_each_invariant_is_seen_to_be_broken(engine: Engine) -> None:
    ids = set_scene(engine).ids(engine)
    assert_sound(engine, at_rest=True)
    unseen = {
        statement: found
        for invariant, statements in BREAK.items()
        for statement in statements
        if invariant not in (found := broken(engine, statement.format_map(ids)))
    }
    assert not unseen


def test_all_invariants_are_tried_above() -> None:
    text = "".join(path.read_text() for path in (sql_directory() / "views").glob("broken_*.sql"))
    named = re.findall(r"^select '((?:[^']|'')+)'(?: as invariant)?, ", text, re.MULTILINE)
    assert {name.replace("''", "'") for name in named} == set(BREAK)


def test_what_nobody_does_in_time_is_not_asked_of_a_moving_system(engine: Engine) -> None:
    engine.define({"a": []}, plan={"timeout": 60})
    engine.start()
    engine.set_clock("3 minutes")
    assert_sound(engine)
    (found,) = engine.rows("select invariant, instant from workflow.invariant_violations")
    assert found == {"invariant": "what is over its time is ended", "instant": False}


def sample(engine: Engine, limit: int) -> list[tuple[int, set[UUID]]]:
    """A round of samples: how many workflows each looked at, and those in which it found something."""
    found, last = [], None
    while True:
        answer = engine.value("select workflow.sample_invariants(%s::uuid, %s)", last, limit)
        found.append((answer["workflows"], {UUID(v["workflow_id"]) for v in answer["violations"]}))
        last = answer["last"]
        if last is None:
            return found


def test_samples_go_round_the_live_and_the_recent_workflows(engine: Engine) -> None:
    engine.define({"a": []})
    workflows = [engine.start() for _ in range(5)]
    engine.finish(engine.claim(1)[0].succeeded())
    with engine.transaction():
        engine.run("savepoint before")
        engine.run("update workflow.workflows set open_tasks = 7 where id = any(%s)", [workflows[1], workflows[4]])
        assert sample(engine, 3) == [(3, {workflows[1]}), (1, {workflows[4]})]
        engine.run("update workflow.tasks set attempt = 3 where workflow_id = %s", workflows[0])
        assert sample(engine, 100) == [(4, {workflows[0], workflows[1], workflows[4]})]
        engine.set_clock("2 hours")
        assert sample(engine, 100) == [(4, {workflows[1], workflows[4]})], "the one that ended is history"
        again = engine.value("select workflow.sample_invariants(null, 0, %s)", [workflows[0]])
        assert {UUID(v["workflow_id"]) for v in again["violations"]} == {workflows[0]}
        engine.run("rollback to savepoint before")


def test_what_was_found_says_where_and_how(engine: Engine) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    claim = engine.claim_one()
    with engine.transaction():
        engine.run("savepoint before")
        engine.run("update workflow.tasks set attempt = 2")
        (violation,) = engine.value("select workflow.sample_invariants()")["violations"]
        assert violation == {
            "invariant": "attempts are claims",
            "instant": True,
            "workflow_id": str(workflow),
            "task_id": claim.task_id,
            "found": {"attempt": 2, "ended": 0, "started": 1},
        }
        engine.run("rollback to savepoint before")
