"""What the cases of `make chaos` are to give is what the engine makes of them when nothing is broken."""

import pytest

from chaos.cases import Cases
from workflow_engine.testing.reading import read_trial
from workflow_engine.testing.trial import run_trial

CASES = Cases(7, "http://127.0.0.1:1/")
PATHS = {"undo": "do.compensate", "tell": "on_failure.tell"}  # of effects


@pytest.mark.parametrize("case", CASES.of_each_kind(), ids=lambda case: case.kind)
async def test_a_case_ends_as_it_says(case, database_url):
    document = {name: value for name, value in case.document.items() if name != "input"}
    outputs = {PATHS.get(name, name): {"body": {"amount": amount}} for name, amount in case.effects.items()}
    played = {
        "input": case.document["input"],
        "outputs": {**outputs, "store": {"stored": True}, "burn": 1},
        "signals": [{"name": "go", "payload": case.document["input"]}] if case.play == "signal" else [],
        "approvals": [{"step": "ask", "outcome": "approved", "data": case.document["input"], "by": "chaos"}]
        if case.play == "approve"
        else [],
    }
    result = await run_trial(database_url, read_trial(document, played))
    assert result.status in case.statuses, result.error
    if result.status == "succeeded":
        assert result.output == case.output
    else:
        assert result.error["type"] == case.error


def test_a_case_follows_from_the_seed_and_its_number():
    first = [CASES.case(number) for number in range(50)]
    assert [Cases(7, "http://127.0.0.1:1/").case(number) for number in range(50)] == first
    assert [Cases(8, "http://127.0.0.1:1/").case(number) for number in range(50)] != first
