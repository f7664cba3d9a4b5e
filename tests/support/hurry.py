"""Rules in which time runs faster, so that a test need not wait for hours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"\b(\d+)([smhd])\b")


def hurried(files: Sequence[Path], directory: Path, pace: int, thresholds: Mapping[str, tuple[str, str]]) -> list[Path]:
    """Copies of files of rules whose `for`, ranges and offsets are shorter by a factor; all else is as it was.

    Args:
        files: The rules.
        directory: Where the copies go.
        pace: The factor.
        thresholds: By the name of an alert, a text of its hurried expression, and what stands in its place.
    """
    left = dict(thresholds)
    copies = []
    for file in files:
        document = yaml.safe_load(file.read_text())
        for rule in (rule for group in document["groups"] for rule in group["rules"]):
            _hurry(rule, pace)
            if rule.get("alert") in left:
                old, new = left.pop(rule["alert"])
                assert old in rule["expr"], f"{rule['expr']} has no {old}"
                rule["expr"] = rule["expr"].replace(old, new)
        copies.append(directory / file.name)
        copies[-1].write_text(yaml.safe_dump(document))
    assert not left, f"there are no such alerts: {list(left)}"
    return copies


def _hurry(rule: dict[str, Any], pace: int) -> None:
    if "for" in rule:
        rule["for"] = shorter(rule["for"], pace)
    # Ranges stand in brackets, offsets behind their word; both may hold nothing else.
    rule["expr"] = re.sub(r"\[[^\]]+\]|\boffset \w+", lambda found: shorter(found[0], pace), rule["expr"])


def shorter(text: str, pace: int) -> str:
    """A text whose durations are shorter by a factor."""
    return _DURATION.sub(lambda found: f"{int(found[1]) * _SECONDS[found[2]] * 1000 // pace}ms", text)
