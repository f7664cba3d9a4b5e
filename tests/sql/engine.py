"""Plays API, worker and leader over one plain connection: one method per function of the schema `workflow`.

    engine.define({"a": [], "b": ["a"]})
    workflow = engine.start()
    a = engine.claim_one()
    engine.turn([a.succeeded({"rows": 3})])

A definition is a mapping of step names to what they wait for, or to a dict with the keys of `step()`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from .connections import WORK_TABLES, Connection

Spec = Mapping[str, Sequence[str] | Mapping[str, Any]]
Completion = dict[str, Any]

LEASE_SECONDS = 30.0
TYPES = ("noop", "http")
ASKING_RULES = ("all_done", "one_failed", "all_failed")  # they look for failures


@dataclass(frozen=True)
class Claim:
    """A claimed attempt, and the completions that can be said about it."""

    task_id: int
    attempt: int
    token: str
    workflow: UUID
    step: str
    raw: dict[str, Any]

    def succeeded(self, output: Any = None, **fields: Any) -> Completion:
        return self._ended("succeeded", output=output, **fields)

    def failed(self, type: str = "test.failed", **fields: Any) -> Completion:
        return self._ended("failed", error=error_document(type, self.attempt), **fields)

    def retried(self, delay: float = 0) -> Completion:
        return self._ended("retried", error=error_document("test.again", self.attempt), delay=delay)

    def waiting(self, kind: str, *, effects: Mapping[str, Any] | None = None, **awaits: Any) -> Completion:
        more = {} if effects is None else {"effects": effects}
        return self._ended("waiting", next="waiting", awaits={"kind": kind, **awaits}, **more)

    def opens(self, scope: int, count: int = 1, **awaits: Any) -> Completion:
        """Wait for `count` instances of a scope."""
        instances = [{"position": n, "variables": {"index": n}} for n in range(count)]
        return self.waiting("scope", scope=scope, instances=instances, **awaits)

    def skipped(self) -> Completion:
        return self._ended("skipped")

    def released(self) -> Completion:
        return self._ended("released")

    def _ended(self, outcome: str, **fields: Any) -> Completion:
        return {
            "task_id": self.task_id,
            "attempt": self.attempt,
            "lease_token": self.token,
            "outcome": outcome,
            **fields,
        }


def error_document(type: str, attempt: int = 1) -> dict[str, Any]:
    return {"type": type, "message": "Made by a test.", "retryable": True, "attempt": attempt, "details": {}}


def step(
    after: Sequence[str] = (),
    *,
    ordering: Sequence[str] = (),
    tolerated: bool = False,
    type: str = "noop",
    queue: str = "default",
    priority: int = 0,
    refs: Sequence[str] = (),
    uses_input: bool = False,
    locks: Sequence[str] = (),
    workflow_locks: Sequence[str] = (),
    limits: Mapping[str, tuple[int, int]] = {},
    resources: Sequence[Mapping[str, Any]] = (),
    rule: str | None = None,
    least: int | None = None,
    on: Mapping[str, Sequence[str]] = {},
    cases: Mapping[str, Sequence[str]] = {},
    **columns: Any,
) -> dict[str, Any]:
    """A step of a definition.

    `ordering` names those in `after` that only order, `on` and `cases` are conditions on some of them, `least` is the
    number of `min_success`; `limits` has capacity and units. `columns` are further ones of definition_steps, such as
    `scope`; `id` where the key in the definition is not it.
    """
    columns = {**columns.pop("columns", {}), **columns}  # `define` passes what this function gave through it again
    return {
        "columns": columns,
        "rule": rule,
        "least": least,
        "on": on,
        "cases": cases,
        "after": [*after, *(name for name in ordering if name not in after)],
        "ordering": ordering,
        "tolerated": tolerated,
        "type": type,
        "queue": queue,
        "priority": priority,
        "refs": refs,
        "uses_input": uses_input,
        "resources": [
            *resources,
            *(resource("lock", key) for key in locks),
            *(resource("lock", key, scope="workflow") for key in workflow_locks),
            *(resource("limit", key, capacity=capacity, units=units) for key, (capacity, units) in limits.items()),
        ],
    }


def rated(key: str, units: int, seconds: float, *, takes: int = 1, capacity: int = 100_000) -> dict[str, Any]:
    """A limit of so many units in any span of so many seconds."""
    rate = {"units": units, "seconds": seconds}
    return {**resource("limit", key, capacity=capacity, units=takes), "rate": rate}


def resource(kind: str, key: str, *, scope: str = "task", capacity: int = 1, units: int = 1) -> dict[str, Any]:
    return {"kind": kind, "key": key, "scope": scope, "capacity": capacity, "units": units}


def conditions(step: Mapping[str, Any], position: Mapping[str, int]) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    for word in ("on", "cases"):
        for name, wanted in step[word].items():
            found.setdefault(str(position[name]), {})[word] = wanted
    return found or None


def asks(step: Mapping[str, Any], name: str) -> bool:
    """Whether a step wants to know when one before it failed."""
    if name in step["on"] or name in step["cases"]:
        return "failed" in step["on"].get(name, ())
    return name not in step["ordering"] and step["rule"] in ASKING_RULES


class Engine:
    """One autocommit connection, registered as a worker of its own."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.worker_id = self.register()

    def close(self) -> None:
        self.connection.close()

    @property
    def pid(self) -> int:
        return self.connection.info.backend_pid

    # Plain SQL --------------------------------------------------------------------------------------------------------

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        return self.connection.execute(query.encode(), parameters).fetchall()

    def value(self, query: str, *parameters: Any) -> Any:
        row = self.connection.execute(query.encode(), parameters).fetchone()
        return None if row is None else next(iter(row.values()))

    def run(self, statement: str, *parameters: Any) -> int:
        return self.connection.execute(statement.encode(), parameters).rowcount

    def leave_unanalysed(self, *tables: str) -> None:
        """Keep autovacuum from tables, or from the partitions of which they consist."""
        for table in tables:
            name = table if "." in table else f"workflow.{table}"
            parts = "select relid::regclass::text as name from pg_partition_tree(%s::regclass) where isleaf"
            for part in [row["name"] for row in self.rows(parts, name)] or [name]:
                self.run(f"alter table {part} set (autovacuum_enabled = off)")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self.connection.transaction():
            yield

    def set_clock(self, offset: str) -> None:
        """Move the clock of this connection; '0' is now."""
        self.run("select set_config('workflow.clock_offset', %s, false)", offset)

    def forget_work(self) -> None:
        """Delete all workflows with what belongs to them, whatever their state."""
        for table in WORK_TABLES:
            self.run(f"delete from {table}")

    # API --------------------------------------------------------------------------------------------------------------

    def define(self, spec: Spec, *, name: str = "flow", fail_fast: bool = True, plan: Mapping[str, Any] = {}) -> int:
        steps = {key: step(**value) if isinstance(value, Mapping) else step(value) for key, value in spec.items()}
        position = {key: index for index, key in enumerate(steps)}
        graph = [
            {
                "id": key,
                "type": s["type"],
                "queue": s["queue"],
                "priority": s["priority"],
                "dependencies": [position[d] for d in s["after"]],
                "ordering": [position[d] for d in s["ordering"]],
                "successors": [position[other] for other, o in steps.items() if key in o["after"]],
                "refs": [position[r] for r in s["refs"]],
                "uses_input": s["uses_input"],
                "tolerated": s["tolerated"],
                "resources": s["resources"],
                "rule": None if s["rule"] is None else {"name": s["rule"], "min": s["least"]},
                "conditions": conditions(s, position),
                "asked": any(key in other["after"] and asks(other, key) for other in steps.values()),
                **s["columns"],
            }
            for key, s in steps.items()
        ]
        document = {"steps": steps, "fail_fast": fail_fast, **plan}
        version: int = self.value(
            "select workflow.register_definition(%s, %s, md5(%s::jsonb::text), %s, %s)",
            name,
            Jsonb(document),
            Jsonb(document),
            Jsonb({"fail_fast": fail_fast, **plan}),
            Jsonb(graph),
        )
        return version

    def start(self, name: str = "flow", input: Any = None, **fields: Any) -> UUID:
        answer = self.start_many([{"name": name, "input": input, **fields}])
        return UUID(answer["started"][0]["id"])

    def start_many(
        self, starts: Sequence[Mapping[str, Any]], *, key: str | None = None, fingerprint: str = "", principal: str = ""
    ) -> dict[str, Any]:
        answer: dict[str, Any] = self.value(
            "select workflow.start_many(%s, %s, %s, %s)", Jsonb(list(starts)), key, fingerprint, principal
        )
        return answer

    def cancel(self, workflow: UUID, reason: str | None = None, by: str | None = None) -> str:
        before: str = self.value("select workflow.cancel(%s, %s, %s)", workflow, reason, by)
        return before

    def retry(self, workflow: UUID, *, force: bool = False) -> int:
        count: int = self.value("select workflow.retry(%s, %s)", workflow, force)
        return count

    def retry_task(self, task_id: int, timeout: float | None = None, *, force: bool = False) -> int:
        count: int = self.value("select workflow.retry_task(%s, %s, %s)", task_id, timeout, force)
        return count

    def pause(self, ttl: str | None = None, by: str | None = None, reason: str | None = None) -> dict[str, Any]:
        state: dict[str, Any] = self.value("select workflow.pause(%s::interval, %s, %s)", ttl, by, reason)
        return state

    def resume(self) -> dict[str, Any]:
        state: dict[str, Any] = self.value("select workflow.resume()")
        return state

    def pause_workflow(self, workflow: UUID, by: str | None = None, reason: str | None = None) -> dict[str, Any]:
        state: dict[str, Any] = self.value("select workflow.pause_workflow(%s, %s, %s)", workflow, by, reason)
        return state

    def resume_workflow(self, workflow: UUID) -> dict[str, Any]:
        state: dict[str, Any] = self.value("select workflow.resume_workflow(%s)", workflow)
        return state

    def pin(self, workflow: UUID, version: int) -> dict[str, Any]:
        pinned: dict[str, Any] = self.value("select workflow.pin(%s, %s)", workflow, version)
        return pinned

    def unpin(self, workflow: UUID) -> dict[str, Any]:
        pinned: dict[str, Any] = self.value("select workflow.unpin(%s)", workflow)
        return pinned

    def pin_definition(self, name: str, version: int | None) -> dict[str, Any]:
        pinned: dict[str, Any] = self.value("select workflow.pin_definition(%s, %s::integer)", name, version)
        return pinned

    def signal(
        self, workflow: UUID, name: str, payload: Any = None, *, by: str | None = None, key: str | None = None
    ) -> dict[str, Any]:
        sent: dict[str, Any] = self.value(
            "select workflow.signal(%s, %s, %s, %s, %s)", workflow, name, Jsonb(payload), by, key
        )
        return sent

    def answer(self, approval: UUID, outcome: str, data: Any = None, by: str | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = self.value(
            "select workflow.answer_approval(%s, %s, %s, %s)", approval, outcome, Jsonb(data), by
        )
        return answer

    def release_locks(self, workflow: UUID) -> dict[str, Any]:
        answer: dict[str, Any] = self.value("select workflow.release_locks(%s)", workflow)
        return answer

    # Worker -----------------------------------------------------------------------------------------------------------

    def register(self, queues: Sequence[str] = ("default",), types: Sequence[str] = TYPES) -> int:
        """Register a worker; claims are made by the one registered last."""
        queue_worker = self.value("select worker_id from procrastinate_register_worker_v1()")
        self.worker_id = self.value(
            "select workflow.register_worker('test', 'host', 1, '1', %s, %s, 10, 10, %s)",
            list(queues),
            Jsonb([{"name": name} for name in types]),
            queue_worker,
        )
        return int(self.worker_id)

    def turn(
        self,
        completions: Sequence[Completion] | None = None,
        *,
        want: int = 0,
        queues: Sequence[str] = ("default",),
        types: Sequence[str] = TYPES,
        lease: float = LEASE_SECONDS,
    ) -> dict[str, Any]:
        document = None if completions is None else Jsonb(list(completions))
        answer: dict[str, Any] = self.value(
            "select workflow.take_turn(%s, %s, %s, %s, %s, %s)::jsonb",
            self.worker_id,
            document,
            list(queues),
            list(types),
            want,
            lease,
        )
        return answer

    def finish(self, *completions: Completion) -> list[int]:
        """Deliver completions, claim nothing; returns the positions of the stale ones."""
        stale: list[int] = self.turn(completions)["stale"]
        return stale

    def claim(self, want: int = 100, **options: Any) -> list[Claim]:
        return self.claims_of(self.turn(want=want, **options))

    def claims_of(self, turn: Mapping[str, Any]) -> list[Claim]:
        return [
            Claim(
                raw["task_id"], raw["attempt"], raw["lease_token"], UUID(raw["workflow_id"]), self._step_name(raw), raw
            )
            for raw in turn["claims"]
        ]

    def claim_one(self, step: str | None = None) -> Claim:
        """Claim everything there is and give it back, but for one task: the only one, or that of the step."""
        claims = self.claim()
        found = [c for c in claims if step in (None, c.step)]
        assert len(found) == 1, f"claimed {[c.step for c in claims]}"
        self.finish(*(c.released() for c in claims if c is not found[0]))
        return found[0]

    def heartbeat(self, claims: Sequence[Claim] = (), *, lease: float = LEASE_SECONDS) -> list[int] | None:
        lost: list[int] | None = self.value(
            "select workflow.heartbeat(%s, %s, %s::uuid[], %s, 1000)",
            self.worker_id,
            [c.task_id for c in claims],
            [c.token for c in claims],
            lease,
        )
        return lost

    def release_forgotten(self, held: Sequence[Claim] = ()) -> int:
        count: int = self.value(
            "select workflow.release_forgotten(%s, %s::bigint[])", self.worker_id, [c.task_id for c in held]
        )
        return count

    def complete_task(self, claim: Claim, output: Any = None) -> None:
        self.run(
            "select workflow.complete_task(%s, %s, %s, %s)", claim.task_id, claim.attempt, claim.token, Jsonb(output)
        )

    # Leader -----------------------------------------------------------------------------------------------------------

    def sweep_expired_leases(
        self, *, max_crashes: int = 3, grace_seconds: float = 0, limit: int = 500
    ) -> tuple[int, int]:
        row = self.rows("select * from workflow.sweep_expired_leases(%s, %s, %s)", max_crashes, grace_seconds, limit)[0]
        return row["recovered"], row["failed"]

    def sweep_held(self, after: int | None = None, *, limit: int = 10000) -> dict[str, Any]:
        answer: dict[str, Any] = self.value("select workflow.sweep_held(%s, %s)", after, limit)
        return answer

    def orphans(
        self, workflows: Sequence[UUID] | None = None, *, grace_seconds: float = 0, scan: int = 1000
    ) -> dict[str, str]:
        """Reason by step."""
        return {
            row["step"]: row["reason"]
            for row in self.rows(
                "select step, reason from workflow.orphaned_tasks(%s::uuid[], %s, %s)",
                None if workflows is None else list(workflows),
                grace_seconds,
                scan,
            )
        }

    def recover_orphaned(
        self,
        workflows: Sequence[UUID] | None = None,
        *,
        action: str = "recover",
        dry_run: bool = False,
        max_crashes: int = 3,
        grace_seconds: float = 0,
        limit: int = 100,
    ) -> dict[str, Any]:
        answer: dict[str, Any] = self.value(
            "select workflow.recover_orphaned(%s, %s::uuid[], %s, %s, %s, %s)",
            action,
            None if workflows is None else list(workflows),
            dry_run,
            max_crashes,
            grace_seconds,
            limit,
        )
        return answer

    def concerns(self, events: int | None = None) -> set[str]:
        return set(self.value("select workflow.concerns(%s)", events))

    def wake_rated(self) -> int:
        return int(self.value("select workflow.wake_rated()"))

    def sweep_places(self, after: str | None = None, *, limit: int = 100) -> dict[str, Any]:
        answer: dict[str, Any] = self.value("select workflow.sweep_places(%s, %s)", after, limit)
        return answer

    def sweep_waiters(self, after: str | None = None, *, limit: int = 100) -> dict[str, Any]:
        answer: dict[str, Any] = self.value("select workflow.sweep_waiters(%s, %s)", after, limit)
        return answer

    def break_deadlock(self, task_id: int, cycle: Sequence[UUID]) -> bool:
        broken: bool = self.value("select workflow.break_deadlock(%s, %s)", task_id, list(cycle))
        return broken

    def lock_waits(self) -> set[tuple[UUID, UUID]]:
        """Who waits for whom."""
        return {(UUID(w["waiter"]), UUID(w["holder"])) for w in self.value("select workflow.lock_waits()")}

    def sweep_leaked_jobs(self) -> int:
        return int(self.value("select workflow.sweep_leaked_jobs()"))

    def sweep_lost_jobs(self, after: UUID | None = None, *, max_crashes: int = 3, limit: int = 100) -> dict[str, Any]:
        answer: dict[str, Any] = self.value("select workflow.sweep_lost_jobs(%s, %s, %s)", after, max_crashes, limit)
        return answer

    def sweep_retired(self) -> int:
        return int(self.value("select workflow.sweep_retired()"))

    def deliver_signals(self, *, limit: int = 200) -> dict[str, int]:
        done: dict[str, Any] = self.value("select workflow.deliver_signals(%s)", limit)
        assert len(done.pop("letters")) == done["dead"]
        return done

    def take_webhooks(self, limit: int = 10, *, each: int = 8, busy: Sequence[str] = ()) -> list[dict[str, Any]]:
        taken: list[dict[str, Any]] = self.value("select workflow.take_webhooks(%s, %s, %s)", limit, each, list(busy))
        return taken

    def end_webhook(self, webhook: Mapping[str, Any], error: str | None = None, delay: float | None = None) -> str:
        status: str = self.value(
            "select workflow.end_webhook(%s, %s, %s, %s::float)", webhook["id"], webhook["tries"], error, delay
        )
        return status

    def wake_due(self, queues: Sequence[str] | None = None, *, limit: int = 1000) -> int:
        return int(self.value("select workflow.wake_due(%s, %s)", None if queues is None else list(queues), limit))

    # Reading ----------------------------------------------------------------------------------------------------------

    def status(self, workflow: UUID) -> str:
        return str(self.workflow(workflow)["status"])

    def workflow(self, workflow: UUID) -> dict[str, Any]:
        return self.rows("select * from workflow.workflow_list where id = %s", workflow)[0]

    def tasks(self, workflow: UUID) -> dict[str, str]:
        """Status by step."""
        return {
            row["step"]: row["status"]
            for row in self.rows(
                "select step, status from workflow.task_list where workflow_id = %s order by id", workflow
            )
        }

    def task(self, workflow: UUID, step: str) -> dict[str, Any]:
        return self.rows(
            "select t.* from workflow.tasks t join workflow.task_list l using (id)"
            " where t.workflow_id = %s and l.step = %s",
            workflow,
            step,
        )[0]

    def outcomes(self, workflow: UUID, step: str) -> list[str]:
        """How the attempts of a step ended, oldest first."""
        return [
            row["outcome"]
            for row in self.rows(
                "select outcome from workflow.attempt_history where task_id = %s order by attempt",
                self.task(workflow, step)["id"],
            )
        ]

    def events(self, workflow: UUID) -> list[str]:
        return [
            row["type"]
            for row in self.rows("select type from workflow.events where workflow_id = %s order by seq", workflow)
        ]

    def held(self, workflow: UUID) -> set[str]:
        """Steps whose job is parked."""
        return {
            row["step"]
            for row in self.rows(
                "select l.step from workflow.task_list l join workflow.tasks t using (id)"
                " join procrastinate_jobs j on j.id = t.job_id"
                " where t.workflow_id = %s and j.scheduled_at = workflow.never()",
                workflow,
            )
        }

    def holders(self, key: str) -> list[UUID]:
        """Workflows that hold a lock or units of a limit."""
        return [r["workflow_id"] for r in self.rows(
            "select workflow_id from workflow.holds where key = %s order by acquired_at, task_id", key)]  # fmt: skip

    def line(self, key: str) -> list[UUID]:
        """Workflows that wait for a lock or limit, in order; not those that were woken."""
        return [r["workflow_id"] for r in self.rows(
            "select workflow_id from workflow.waits where key = %s and woken_at is null"
            " order by priority desc, since, task_id", key)]  # fmt: skip

    def entered(self, key: str) -> list[UUID]:
        """Workflows that are in at a concurrency key."""
        return [r["workflow_id"] for r in self.rows(
            "select workflow_id from workflow.places where key = %s and entered_at is not null order by id",
            key)]  # fmt: skip

    def queued(self, key: str) -> list[UUID]:
        """Workflows in line for a concurrency key, in order."""
        return [r["workflow_id"] for r in self.rows(
            "select workflow_id from workflow.places where key = %s and entered_at is null"
            " order by front desc, priority desc, id", key)]  # fmt: skip

    def jobs(self) -> list[dict[str, Any]]:
        return self.rows("select * from procrastinate_jobs order by id")

    def snapshot(self) -> dict[str, list[dict[str, Any]]]:
        """Everything that a refused call must leave as it was."""
        return {
            table: self.rows(f"select * from {table} order by {order}")
            for table, order in (
                ("workflow.workflows", "id"),
                ("workflow.tasks", "id"),
                ("workflow.attempt_history", "task_id, attempt"),
                ("workflow.events", "workflow_id, seq"),
                ("workflow.records", "id"),
                ("workflow.holds", "kind, key, task_id"),
                ("workflow.waits", "kind, key, task_id"),
                ("workflow.start_keys", "name, key"),
                ("workflow.places", "workflow_id, key"),
                ("procrastinate_jobs", "id"),
            )
        }

    def _step_name(self, raw: Mapping[str, Any]) -> str:
        return str(
            self.value(
                "select id from workflow.definition_steps where version_id = %s and step_index = %s",
                raw["version_id"],
                raw["step_index"],
            )
        )
