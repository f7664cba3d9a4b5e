"""Issue 5, "Workflow Versioning Conflict": a definition was changed while it runs, and what is cached is stale."""

from __future__ import annotations

import json
from typing import Any

from support.documents import flow, step
from support.runbook import COMMANDS
from support.stack import Stack

from drills.finding import Finding

NUMBER, TITLE = 5, "versioning conflict"
NAME = "drill-versions"


def run(stack: Stack) -> Finding:
    file = stack.definitions / f"{NAME}.json"
    try:
        file.write_text(json.dumps(flow(NAME, step("kept"), {"id": "say", "type": "fail", "depends_on": ["kept"]})))
        stack.shell(COMMANDS["Force reload definitions"])
        broken = start(stack)
        assert stack.await_end(broken["id"]) == "failed"

        # Somebody mends the file, and nothing changes; and somebody else has been at the cache.
        said = {"id": "say", "type": "transform", "value": "mended", "depends_on": ["kept"]}
        file.write_text(json.dumps(flow(NAME, step("kept"), said)))
        poison(stack, broken["version"], said)
        again = start(stack)
        assert again["version"] == broken["version"], "an old version is executed"
        assert stack.await_end(again["id"]) == "failed", "what stands in the cache decides nothing"
        assert versions(stack).keys() == {broken["version"]}

        deleted = stack.shell(COMMANDS["Clear workflow definition cache"]).out.strip()
        assert deleted == "1"
        reloaded = stack.shell(COMMANDS["Force reload definitions"]).json()
        assert reloaded["changed"] == [NAME]
        mended = start(stack)
        assert stack.await_end(mended["id"]) == "succeeded"
        newest = mended["version"]
        assert versions(stack)[newest]["is_default"]

        pin = COMMANDS["Pin specific version for execution"].replace("=2", f"={newest}")
        stack.shell(pin, workflow_id=broken["id"])
        stack.shell(COMMANDS["Retry Failed Workflow"], workflow_id=broken["id"])
        assert stack.await_end(broken["id"]) == "succeeded"
        assert stack.output(broken["id"]) == {"say": "mended"}
        assert stack.outcomes(broken["id"], "kept") == ["succeeded"], "what was done under the old version is kept"
    finally:
        file.unlink(missing_ok=True)
        stack.shell(COMMANDS["Force reload definitions"])
    return Finding(
        seen=[f"version {again['version']} started although the file had changed", "/workflows/versions"],
        cured_by=["DEL of the cache (1)", f"reload (version {newest})", "pin and retry of what had failed"],
    )


def start(stack: Stack) -> dict[str, Any]:
    """Start the definition by its name."""
    started: dict[str, Any] = stack.post("/workflows", json={"name": NAME})
    return started


def versions(stack: Stack) -> dict[int, dict[str, Any]]:
    (ours,) = [each for each in stack.curl(COMMANDS["Check active workflow versions"]) if each["name"] == NAME]
    return {version["version"]: version for version in ours["versions"]}


def poison(stack: Stack, version: int, step_now: dict[str, Any]) -> None:
    """Put another content into the cache under that version, with the hash and generation that are expected there."""
    with stack.redis() as client:
        key = f"workflow:definitions:{NAME}:{version}"
        entry = json.loads(str(client.get(key)))
        entry["document"] = json.dumps(entry["document"]).replace('"fail"', '"noop"')
        client.set(key, json.dumps(entry))
