"""What the rules of docs/language.md make of a workflow, in 50 lines: the yardstick of table and property tests."""

from collections import Counter
from collections.abc import Mapping

from .model_step import Step

ENDED = {"succeeded", "failed", "skipped", "cancelled"}
ASKING = {"all_done", "one_failed", "all_failed"}  # rules that look for failures
EARLY = {"one_success", "min_success", "one_failed", "always"}  # those that need not see all


def counts_as(step: Step, name: str, status: str, before: Step) -> str:
    blamed = status == "cancelled" or (status == "failed" and not before.tolerated)
    if name not in step.on and name not in step.cases:
        tolerated = status == "failed" and before.tolerated and step.rule not in ASKING
        return "succeeded" if tolerated else "failed" if status == "cancelled" else status
    case = status != "succeeded" or name not in step.cases or {*before.chooses} & {*step.cases[name]}
    if case and status in step.on.get(name, ["succeeded"]):
        return "failed" if step.rule in ASKING and status == "failed" else "succeeded"
    return "failed" if blamed and step.rule not in ASKING else "unmet"


def verdict(step: Step, counted: list[str], open: int) -> str:
    n, total = Counter(counted), len(counted) + open
    met = {
        "auto": n["succeeded"] > 0 and n["failed"] == n["unmet"] == 0,
        "all_success": n["succeeded"] == total,
        "all_done": n["unmet"] == 0,
        "none_failed": n["failed"] == n["unmet"] == 0,
        "one_success": n["succeeded"] > 0,
        "min_success": n["succeeded"] >= (step.least or 1),
        "one_failed": n["failed"] > 0,
        "all_failed": n["failed"] == total,
        "always": True,
    }[step.rule]
    hopeless = step.rule == "min_success" and n["failed"] > 0 and n["succeeded"] + open < (step.least or 1)
    if total == 0 or (met and (open == 0 or step.rule in EARLY)):
        return "pending"
    return "blocked" if open and not hopeless else "failed" if n["failed"] and step.rule not in ASKING else "skipped"


def decide(steps: Mapping[str, Step], status: Mapping[str, str], name: str) -> str:
    """What becomes of a blocked step."""
    step, counted = steps[name], [d for d in steps[name].after if d not in steps[name].ordering]
    if not all(status[d] in ENDED for d in step.ordering):
        return "blocked"
    ended = [counts_as(step, d, status[d], steps[d]) for d in counted if status[d] in ENDED]
    return verdict(step, ended, len(counted) - len(ended))


def asked(steps: Mapping[str, Step], name: str) -> bool:
    """Whether some step wants to see it fail: then its failure does not end the workflow at once."""
    plain = [s for s in steps.values() if name in s.after and name not in (*s.on, *s.cases, *s.ordering)]
    return any("failed" in s.on.get(name, ()) for s in steps.values()) or any(s.rule in ASKING for s in plain)
