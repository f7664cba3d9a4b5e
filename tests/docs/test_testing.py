"""docs/testing.md: its example runs, and it names everything that is given and got."""

import re
from dataclasses import fields
from pathlib import Path

import orjson

from workflow_engine.testing.reading import FIELDS, read_trial
from workflow_engine.testing.result import TrialResult
from workflow_engine.testing.trial import run_trial

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()


def named_in(title: str) -> set[str]:
    """What the first column of the first table of a section names."""
    section = PAGE.split(f"\n## {title}\n", 1)[1].split("\n#", 1)[0]
    return {name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}


def test_everything_that_may_be_given_and_is_got_is_named() -> None:
    assert named_in("What you give") == {"definition", *FIELDS}
    assert named_in("What you get") == {field.name for field in fields(TrialResult)}


async def test_the_example_runs(database_url: str) -> None:
    found = re.search(r"-d '(\{.*?\})'\n```", PAGE, re.DOTALL)
    assert found
    body = orjson.loads(found[1])
    result = await run_trial(database_url, read_trial(body["definition"], body))
    assert result.output == {"thank": "Thanks for 7"}
    assert (result.duration, result.task("charge").attempt) == (7200, 2)
