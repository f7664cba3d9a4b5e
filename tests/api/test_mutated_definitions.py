"""Definitions that somebody got a little wrong: each is refused with a reason, or it ends, or says what it waits for.

The seeds are the translations of examples/translations. WORKFLOW_TEST_FUZZ_COUNT says how many are tried, and
WORKFLOW_TEST_FUZZ_SEED which; a fault names the seed of its definition.
"""

from __future__ import annotations

import os
import time
from typing import Any

import httpx
import orjson
import pytest
from support.mutations import Mutator
from support.translations import cases, definitions

COUNT = int(os.environ.get("WORKFLOW_TEST_FUZZ_COUNT", "200"))
SEED = int(os.environ.get("WORKFLOW_TEST_FUZZ_SEED", "1"))
BATCHES = 10  # tests, so that the time limit of one is enough and a fault loses less
LONGEST_SECONDS = 20.0
DOCUMENTS = definitions()
CASES = cases()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_mutated_definition_is_refused_or_runs_and_never_breaks_the_engine(
    shared_api: httpx.Client, batch: int
) -> None:
    verdicts: dict[str, int] = {}
    for number in range(batch, COUNT, BATCHES):
        verdict = try_one(shared_api, SEED * 1_000_000 + number)
        verdicts[verdict] = verdicts.get(verdict, 0) + 1
    print(verdicts)


def try_one(api: httpx.Client, seed: int) -> str:
    """What came of the definition of a seed: `refused`, or the word for how it ended or why it did not."""
    case = CASES[seed % len(CASES)]
    document = Mutator(list(DOCUMENTS.values()), seed).mutate(DOCUMENTS[case.definition])
    told = f"seed {seed}, from {case.definition}:\n{orjson.dumps(document).decode()}"
    try:
        body = orjson.dumps({"definition": document, **case.given})
    except TypeError:  # an integer beyond 64 bits, say
        return "not JSON"
    headers = {"Content-Type": "application/json"}

    validated = api.post("/api/v1/definitions/validate", content=orjson.dumps(document), headers=headers)
    assert validated.status_code in (200, 400, 422), f"{validated.text}\n{told}"
    began = time.monotonic()
    tried = api.post("/api/v1/definitions/test", content=body, headers=headers, timeout=60)
    seconds = time.monotonic() - began
    assert tried.status_code in (200, 400, 422), f"{tried.text}\n{told}"
    assert seconds < LONGEST_SECONDS, f"{seconds:.1f} s\n{told}"
    if tried.status_code != 200:
        assert tried.json()["errors"] or tried.json()["detail"], told
        return "refused"
    return ending(tried.json(), told)


def ending(result: dict[str, Any], told: str) -> str:
    if result["stopped"] is None:
        assert result["status"] in ("succeeded", "failed", "cancelled"), told
        assert (result["error"] is not None) == (result["status"] == "failed"), f"{result['error']}\n{told}"
        open_tasks = [task for task in result["tasks"] if task["finished_at"] is None and "/" not in task["path"]]
        assert open_tasks == [], f"it has ended and these have not: {open_tasks}\n{told}"
        return str(result["status"])
    if result["stopped"] == "waiting":
        assert result["waits_for"], f"it hangs: {[(task['path'], task['status']) for task in result['tasks']]}\n{told}"
    return str(result["stopped"])
