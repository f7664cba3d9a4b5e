"""docs/why.md has every reason that the database can give, and no other."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "why.md").read_text()
FUNCTIONS = ROOT / "sql" / "functions"


def branches(file: str, function: str) -> set[str]:
    """The words after `when` in a function."""
    body = (FUNCTIONS / file).read_text().split(f"create or replace function workflow.{function}(")[1].split("$$;")[0]
    return set(re.findall(r"when '([a-z_]+)' then", body))


def test_every_reason_is_documented_and_has_words_and_a_command() -> None:
    documented = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert set(documented) == branches("explain_words.sql", "reason_in_words")
    assert set(documented) - branches("explain_words.sql", "helping_command") == {"resource_free"}


def test_every_reason_in_one_word_is_documented() -> None:
    body = (FUNCTIONS / "explain.sql").read_text().split("function workflow.pending_reason(")[1]
    words = set(re.findall(r"then '([a-z_]+):?'", body)) | {"waiting_dependency"}
    documented = re.findall(r"`([a-z_]+)(?::<[a-z ]+>)?`", PAGE.split("It is one of")[1])
    assert set(documented) == words


def test_every_reason_is_caused_by_a_test() -> None:
    tests = (ROOT / "tests" / "sql" / "test_why.py").read_text()
    reasons = branches("explain_words.sql", "reason_in_words")
    assert {reason for reason in reasons if f'"{reason}"' not in tests} == set()
