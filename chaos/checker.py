"""Compares what users were told, what the ledger has and what Postgres says, when everything is at rest.

Every list of a verdict must be empty. What is only told, such as calls of the target that were repeated, are figures.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from chaos import ledger
from chaos.bad_requests import REFUSED
from chaos.cluster import LEASE_SECONDS
from chaos.driver import Driver, Played
from chaos.ledger import Entry
from chaos.nemesis import Inflicted
from chaos.world import World

_MOST = 50  # rows of a list

_OURS = """
select w.id::text, w.name, w.status, w.labels ->> 'case' as "case", w.finished_at is not null as over, w.output,
       w.error, w.parent_id::text as parent, w.labels ->> 'scheduled_for' as scheduled_for
from workflow.workflow_list w
"""


@dataclass(slots=True)
class Verdict:
    """What must not be: a run has passed if all of it is empty."""

    lost: list[str] = field(default_factory=list)  # accepted, and not there or not at its end
    wrong: list[str] = field(default_factory=list)  # another end than the one that is known
    double_success: list[str] = field(default_factory=list)
    duplicate_start: list[str] = field(default_factory=list)  # one key, several workflows
    phantom: list[str] = field(default_factory=list)  # there, though every user was refused
    duplicate_effect: list[str] = field(default_factory=list)
    missing_effect: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)  # a call that was repeated though nothing was broken
    believed: list[str] = field(default_factory=list)  # bad requests that were not refused
    server_errors: list[str] = field(default_factory=list)  # a 500, or another answer that there must not be
    invariants: list[str] = field(default_factory=list)
    schedule: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # did not bite, or did what it must not
    slow: list[str] = field(default_factory=list)  # recoveries beyond their bound
    trouble: list[str] = field(default_factory=list)  # of the harness itself


VERDICTS = tuple(each.name for each in fields(Verdict))


@dataclass(slots=True)
class Figures:
    """What is told."""

    submitted: int = 0
    accepted: int = 0
    unheard: int = 0  # starts of which some try had no answer
    refused: int = 0
    by_status: dict[str, int] = field(default_factory=dict)
    by_kind: dict[str, int] = field(default_factory=dict)
    tasks: int = 0
    attempts: dict[str, int] = field(default_factory=dict)  # by outcome
    calls: int = 0
    effects: int = 0
    repeated_calls: int = 0  # beyond those that cases ask for
    repeated_per_10k_tasks: float = 0.0


async def check(world: World, driver: Driver, inflicted: Sequence[Inflicted], verdict: Verdict) -> Figures:
    """Look at everything; adds to the verdict, and returns the figures."""
    rows = await world.rows(_OURS)
    by_id = {row["id"]: row for row in rows}
    by_case: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row["parent"] is None and row["case"] is not None:
            by_case[row["case"]].append(row["id"])
    entries = ledger.read(world.cluster.ledger)
    ends = _Ends(by_id, _children(rows), entries, await _records(world))
    for played in driver.played:
        _check_start(played, by_case.get(str(played.number), []), verdict)
        if played.workflow is not None:
            ends.check(played, verdict)
    _check_effects(entries, verdict)
    repeated = _check_calls(driver.played, entries, ends.family, inflicted, verdict)
    verdict.believed += driver.believed
    if accepted := [row["id"] for row in rows if row["name"] == REFUSED]:
        verdict.believed.append(f"workflows of a bad request: {accepted}")
    verdict.double_success += await _double_successes(world)
    verdict.invariants += await _violations(world)
    verdict.schedule += _gaps(row["scheduled_for"] for row in rows if row["name"] == "chaos-tick")
    return await _figures(world, driver, rows, entries, repeated)


# Starts and ends ------------------------------------------------------------------------------------------------------


def _check_start(played: Played, workflows: list[str], verdict: Verdict) -> None:
    name = f"case {played.number} ({played.case.kind})"
    if len(workflows) > 1:
        verdict.duplicate_start.append(f"{name}: {workflows}")
    if played.confused:
        verdict.wrong.append(f"{name}: {played.confused}")
    if played.refused:
        verdict.wrong.append(f"{name} was refused: {played.refused}")
    if played.workflow is None and workflows and not played.unheard:
        verdict.phantom.append(f"{name}: {workflows}")


@dataclass(frozen=True, slots=True)
class _Ends:
    """How workflows have ended, with all that belongs to them."""

    by_id: dict[str, dict[str, Any]]
    children: dict[str, list[str]]
    entries: Sequence[Entry]
    records: Counter[str]
    _effects: dict[str, dict[str, int]] = field(default_factory=dict)

    def family(self, workflow: str) -> list[str]:
        """A workflow and all below it."""
        return [workflow, *(below for child in self.children.get(workflow, []) for below in self.family(child))]

    def check(self, played: Played, verdict: Verdict) -> None:
        case, workflow = played.case, str(played.workflow)
        name = f"case {played.number} ({case.kind}, {workflow})"
        row = self.by_id.get(workflow)
        if row is None:
            verdict.lost.append(f"{name} is not there")
            return
        if not row["over"]:
            verdict.lost.append(f"{name} is {row['status']}")
            return
        allowed = case.statuses
        if played.cancelled is not False:
            allowed = frozenset({"cancelled"}) if played.cancelled else allowed | {"cancelled"}
        if row["status"] not in allowed:
            verdict.wrong.append(f"{name} {row['status']}: {row['error']}")
            return
        if row["status"] == "cancelled":
            return
        if row["status"] == "succeeded" and case.output is not None and row["output"] != case.output:
            verdict.wrong.append(f"{name} gave {str(row['output'])[:300]}, not {str(case.output)[:300]}")
        if row["status"] == "failed" and case.error and (row["error"] or {}).get("type") != case.error:
            verdict.wrong.append(f"{name} failed with {row['error']}")
        if self.records[workflow] != case.records:
            verdict.wrong.append(f"{name} has {self.records[workflow]} records, not {case.records}")
        happened = {
            name: amount for each in self.family(workflow) for name, amount in self.effects.get(each, {}).items()
        }
        if happened != dict(case.effects):
            verdict.missing_effect.append(f"{name}: {happened} happened, not {dict(case.effects)}")

    @property
    def effects(self) -> dict[str, dict[str, int]]:
        """What happened at the target, by workflow and name."""
        if not self._effects:
            for entry in self.entries:
                if entry.phase == "effect":
                    self._effects.setdefault(entry.workflow, {})[entry.effect] = entry.amount
        return self._effects


def _children(rows: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row["parent"]:
            found[row["parent"]].append(row["id"])
    return found


async def _records(world: World) -> Counter[str]:
    found = await world.rows("select workflow_id::text as id, count(*) as n from workflow.records group by 1")
    return Counter({row["id"]: row["n"] for row in found})


# Effects and calls ----------------------------------------------------------------------------------------------------


def _check_effects(entries: Sequence[Entry], verdict: Verdict) -> None:
    happened = Counter((entry.workflow, entry.effect) for entry in entries if entry.phase == "effect")
    verdict.duplicate_effect += [
        f"{effect} of {workflow} happened {times} times" for (workflow, effect), times in happened.items() if times > 1
    ]


def _check_calls(
    played: Sequence[Played],
    entries: Sequence[Entry],
    family: Any,
    inflicted: Sequence[Inflicted],
    verdict: Verdict,
) -> int:
    """Calls beyond those that a case asks for; each must have a fault beside it."""
    calls: dict[tuple[str, str], list[float]] = defaultdict(list)
    for entry in entries:
        if entry.phase == "call":
            calls[entry.workflow, entry.effect].append(entry.at)
    spans = [(one.began - 1, one.ended + LEASE_SECONDS + 5) for one in inflicted]
    repeated = 0
    for each in played:
        for workflow in family(each.workflow) if each.workflow else []:
            for effect, expected in each.case.tries.items():
                times = calls.get((workflow, effect), [])
                extra = len(times) - expected
                repeated += max(extra, 0)
                if extra > 0 and not any(began <= at <= ended for at in times for began, ended in spans):
                    verdict.unexplained.append(f"{effect} of {workflow} was called {len(times)} times, not {expected}")
    return repeated


# Postgres -------------------------------------------------------------------------------------------------------------


async def _double_successes(world: World) -> list[str]:
    found = await world.rows(
        "select workflow_id::text as workflow, task_id, count(*) as n from workflow.attempt_history"
        " where outcome = 'succeeded' group by 1, 2 having count(*) > 1 limit %s",
        _MOST,
    )
    return [f"task {row['task_id']} of {row['workflow']} succeeded {row['n']} times" for row in found]


async def _violations(world: World) -> list[str]:
    found = await world.rows("select * from workflow.invariant_violations limit %s", _MOST)
    return [
        f"at rest: {row['invariant']}: workflow {row['workflow_id']}, task {row['task_id']}, {row['found']}"
        for row in found
    ]


def _gaps(due: Iterable[str]) -> list[str]:
    """The minutes between the first and the last due time that were not answered, or more than once."""
    times = sorted(datetime.fromisoformat(each) for each in due if each)
    wrong = [f"{time} twice" for time, times_ in Counter(times).items() if times_ > 1]
    for one, other in pairwise(times):
        if other - one > timedelta(minutes=1):
            wrong.append(f"nothing between {one} and {other}")
    return wrong


async def _figures(
    world: World, driver: Driver, rows: Sequence[dict[str, Any]], entries: Sequence[Entry], repeated: int
) -> Figures:
    outcomes = await world.rows("select outcome, count(*) as n from workflow.attempt_history group by 1 order by 1")
    figures = Figures(
        submitted=len(driver.played),
        accepted=sum(each.workflow is not None for each in driver.played),
        unheard=sum(each.unheard for each in driver.played),
        refused=sum(each.refused is not None for each in driver.played),
        by_status=dict(Counter(row["status"] for row in rows)),
        by_kind=dict(Counter(each.case.kind for each in driver.played)),
        tasks=int(await world.value("select count(*) from workflow.tasks")),
        attempts={row["outcome"]: row["n"] for row in outcomes},
        calls=sum(entry.phase == "call" for entry in entries),
        effects=sum(entry.phase == "effect" for entry in entries),
        repeated_calls=repeated,
    )
    figures.repeated_per_10k_tasks = round(1e4 * repeated / max(figures.tasks, 1), 2)
    return figures
