"""Definitions with everything the language has, for test_mixed.py, and all that workers may say of their attempts."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from .engine import Claim, Completion, Engine, error_document, rated, resource
from .nested import define, step

NAMES = ("wild", "leaf", "line", "thrifty")
CAPACITY = {"slot": 2}
RATE = (6, 60.0)  # units in seconds

# What steps do beside plain work, by their names.
_OPENS = {
    "each": (1, 3), "poll": (2, 1), "box": (3, 2), "inner": (5, 1), "on_failure": (6, 1), "on_exit": (7, 1),
}  # fmt: skip
_CATCH = {"risky": 4}
_WAITS = {"sig", "look", "ask", "nap", "kid", "also"}


def define_all(engine: Engine) -> None:
    slot, lock = resource("limit", "slot", capacity=CAPACITY["slot"]), resource("lock", "ledger")
    whole = resource("lock", "book", scope="workflow")
    for version in (1, 2):
        define(
            engine,
            {
                "top": step(compensation="undo", resources=[slot]),
                "each": step(["top"], catches=version == 1),
                "poll": step(["top"], tolerated=True, compensation="unpoll"),
                "risky": step(["top"], catches=True, timeouts={"schedule_to_close": 90}),
                "sig": step(["each"], tolerated=True, catches=False),
                "look": step(["top"], tolerated=True),
                "ask": step(["top"], tolerated=version == 2),
                "nap": step(["ask"], asked=True),
                "kid": step(["poll"], tolerated=True, timeouts={"schedule_to_close": 120}),
                "also": step(["top"], tolerated=True),
                "limited": step(["top"], resources=[rated("calls", *RATE)], timeouts={"schedule_to_start": 45}),
                "guard": step(["nap"], rule={"name": "all_done", "min": None}, resources=[whole]),
                "last": step(["guard", "sig", "look", "kid", "also", "limited", "risky"]),
                "undo": step(kind="compensation"),
                "unpoll": step(kind="compensation", tolerated=True),
                "output": step(kind="output", type="noop"),
                "on_failure": step(kind="on_failure"),
                "on_exit": step(kind="on_exit"),
            },
            {
                "each": ("item", {
                    "fetch": step(compensation="unfetch", resources=[slot]),
                    "box": step(["fetch"], timeouts={"schedule_to_close": 75}),
                    "unfetch": step(kind="compensation"),
                }),
                "poll": ("iteration", {"probe": step(body=True, resources=[lock])}),
                "box": ("block", {
                    "in": step(timeouts={"schedule_to_close": 75}),
                    "inner": step(),
                    "sig": step(["in"], tolerated=True),
                    "out": step(["inner", "sig"], tolerated=version == 2)}),
                "risky": ("catch", {"mend": step(), "ask": step(["mend"])}),
                "inner": ("item", {"kid": step(body=True, catches=version == 2)}),
                "on_failure": ("block", {"tell": step(), "nap": step(["tell"])}),
                "on_exit": ("block", {"tidy": step(resources=[lock]), "close": step(["tidy"])}),
            },
            name="wild",
            plan={"timeout": 900, "fail_fast": version == 1},
        )  # fmt: skip
        define(engine, {"a": step(), "b": step(["a"], tolerated=version == 2)}, name="leaf")
        define(
            engine,
            {"a": step(compensation="undo"), "ask": step(["a"]), "undo": step(kind="compensation")},
            name="line",
            plan={"concurrency": [
                {"key": [{"text": "k:"}, {"path": ["input", "k"]}], "limit": version, "on_conflict": conflict}
                for conflict in (["queue"] if version == 1 else ["cancel_running"])]},
        )  # fmt: skip
        define(
            engine,
            {"a": step(), "each": step(["a"]), "kid": step(["a"])},
            {"each": ("item", {"x": step(body=True)})},
            name="thrifty",
            plan={"budget": {"steps": {"soft": 2, "hard": 5}, "on_exceeded": "pause" if version == 1 else "fail"}},
        )


def end_of(claim: Claim, chance: random.Random) -> Completion:
    """Something that a worker may say at the end of an attempt."""
    luck = chance.random()
    if luck < 0.08:
        return claim.released() if luck < 0.04 else claim.retried(chance.choice((0, 20)))
    if luck < 0.12 or (claim.raw.get("raised") is not None and chance.random() < 0.7):
        return _fail(claim, chance)
    resumed = claim.raw.get("resumed")
    if resumed is not None and (resumed["awaits"].get("state") or {}).get("catching"):
        return claim.succeeded("mended") if resumed.get("status") == "succeeded" else claim.failed()
    if claim.step in _OPENS:
        return _scope(claim, chance, *_OPENS[claim.step], resumed)
    if claim.step in _WAITS:
        return (_first_wait if resumed is None else _next)(claim, chance)
    return _work(claim, chance)


def _work(claim: Claim, chance: random.Random) -> Completion:
    if claim.step in _CATCH and chance.random() < 0.4:
        return _fail(claim, chance)
    effects: dict[str, Any] = {}
    if chance.random() < 0.2:
        effects["usage"] = {"input_tokens": 10}
    if chance.random() < 0.2:
        effects["emit"] = {"name": "go", "to": "signal"}
    if chance.random() < 0.02:
        effects["terminate"] = {"status": chance.choice(("succeeded", "failed", "cancelled"))}
    made = claim.succeeded({"by": claim.attempt})
    return {**made, "effects": effects} if effects else made


def best_end_of(claim: Claim) -> Completion:
    """What ends the attempt's task well, and soon."""
    resumed = claim.raw.get("resumed") or {}
    seqs = [e["seq"] for e in resumed.get("events") or []]
    return claim.succeeded("well", **({"effects": {"taken": seqs}} if seqs else {}))


def _fail(claim: Claim, chance: random.Random) -> Completion:
    """What a failed attempt of a step comes to: the steps of its catch, if it has any."""
    if claim.step in _CATCH and chance.random() < 0.7:
        state = {"catching": {"catch": 0, "error": error_document("x")}}
        return claim.opens(_CATCH[claim.step], 1, state=state)
    return claim.failed()


def _scope(claim: Claim, chance: random.Random, scope: int, most: int, resumed: Mapping[str, Any] | None) -> Completion:
    if resumed is None or resumed["awaits"]["kind"] != "scope":
        awaits: dict[str, Any] = {}
        if chance.random() < 0.4:
            awaits["width"] = chance.randint(1, 2)
        if chance.random() < 0.4:
            awaits["tolerated"] = 1
        if chance.random() < 0.2:
            awaits["deadline"] = chance.choice((20, 60))
        if chance.random() < 0.2:
            awaits["delay"] = 10
        return claim.opens(scope, chance.randint(1, most), **awaits)
    if not resumed["ended"]:
        return claim.failed("timeout") if chance.random() < 0.5 else claim.retried(0)
    if resumed["status"] == "failed":
        return claim.failed() if chance.random() < 0.8 else claim.retried(20)
    if claim.step == "poll" and chance.random() < 0.5:
        instance = {"position": resumed["position"] + 1, "variables": {}}
        return claim.waiting("scope", scope=scope, instances=[instance], delay=chance.choice((0, 10)))
    return claim.succeeded(resumed["outputs"])


def _first_wait(claim: Claim, chance: random.Random) -> Completion:
    deadline = {"deadline": chance.choice((15, 60))} if chance.random() < 0.5 else {}
    match claim.step:
        case "ask":
            return claim.waiting("approval", prompt="?", **deadline)
        case "nap":
            return claim.waiting("timer", delay=chance.choice((5, 50)))
        case "kid":
            awaits: dict[str, Any] = {"name": chance.choice(("leaf", "leaf", "line", "thrifty", "nothing")), **deadline}
            if awaits["name"] == "line":
                awaits["input"] = {"k": chance.choice((1, 2))}
            if chance.random() < 0.2:
                awaits["wait"] = False
            if chance.random() < 0.3:
                awaits["on_parent_cancel"] = chance.choice(("cancel", "abandon"))
            return claim.waiting("child", **awaits)
        case _:
            matches = {"matches": True} if claim.step == "look" else {}
            return claim.waiting("signal", name="go", count=chance.choice((1, 1, 2)), **matches, **deadline)


def _next(claim: Claim, chance: random.Random) -> Completion:
    """What follows when a task was resumed."""
    resumed: dict[str, Any] = claim.raw["resumed"]
    match resumed["awaits"]["kind"]:
        case "signal":
            return _signalled(claim, chance, resumed)
        case "approval" if "answer" in resumed:
            return claim.succeeded(resumed["answer"])
        case "approval" if resumed["due"]:
            return chance.choice((claim.succeeded, claim.failed))(effects={"expired": True})
        case "approval":
            return claim.failed()
        case "child":
            return _after_child(claim, chance, resumed)
        case _:
            return claim.succeeded()


def _after_child(claim: Claim, chance: random.Random, resumed: Mapping[str, Any]) -> Completion:
    status = resumed.get("workflow", {}).get("status")
    if status in ("pending", "running") and resumed["awaits"].get("wait", True):
        again = {key: value for key, value in resumed["awaits"].items() if key not in ("kind", "until", "deadline")}
        return claim.waiting("child", **again) if chance.random() < 0.5 else claim.failed("timeout")
    return claim.succeeded() if status != "failed" else claim.failed()


def _signalled(claim: Claim, chance: random.Random, resumed: Mapping[str, Any]) -> Completion:
    awaits, events = resumed["awaits"], resumed["events"]
    count = awaits["count"]
    meant = [e for e in events if e["taken"] or (awaits.get("matches") and chance.random() < 0.6)][:count]
    new = [e for e in events if not e["taken"]]
    after = max([awaits.get("after", 0), *(e["seq"] for e in new)])
    effects: dict[str, Any] = {"taken": [e["seq"] for e in meant]} if meant else {}
    if len(meant) == count:
        return claim.succeeded("came", effects=effects)
    if resumed["due"] and not new:
        effects |= {"expired": True, "after": after}
        if chance.random() < 0.5:
            return claim.succeeded(effects=effects)
        return claim.failed(effects=effects)
    return claim.waiting(
        "signal", effects=effects, name="go", count=count, after=after,
        **({"matches": True} if awaits.get("matches") else {}),
    )  # fmt: skip
