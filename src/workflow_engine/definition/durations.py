"""Durations as people write them: `500ms`, `30s`, `1m30s`, `2h`, `7d`, ISO 8601 (`PT1M30S`), or a number of seconds."""

from __future__ import annotations

import math
import re

from workflow_engine.errors import Fault, InputInvalid

_NUMBER = r"(\d+(?:\.\d+)?)"
_UNITS = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
# Each unit at most once, from large to small, so that `1m1h` or `5s5s` is noticed as the slip it is.
_SHORT = re.compile("".join(rf"(?:{_NUMBER}{unit}(?![a-z]))?" for unit in _UNITS), re.ASCII)
_ISO = re.compile(
    rf"P(?:{_NUMBER}W)?(?:{_NUMBER}D)?(?:T(?=\d)(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?", re.ASCII
)
_PLAIN = re.compile(_NUMBER, re.ASCII)
_FORMS = "write 500ms, 30s, 1m30s, 2h, 7d, PT1M30S or a number of seconds"


def parse_duration(value: object) -> float:
    """Read a duration.

    Args:
        value: A number of seconds, or a string in one of the forms above. Years and months are refused: their length
            is not fixed.

    Returns:
        Seconds, >= 0 and finite. Whether zero or a week makes sense is for the caller to say.

    Raises:
        InputInvalid: With one fault without a place: `out-of-range` when negative or not finite, else
            `validation-error`.
    """
    if isinstance(value, str):
        return _parse_text(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused("validation-error", f"is not a duration: {_FORMS}")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not 0 <= seconds < math.inf:
        raise _refused("out-of-range", "a duration is a finite number of seconds, zero or more")
    return seconds


def _parse_text(text: str) -> float:
    if len(text) > 64:
        raise _refused("validation-error", f"is too long for a duration: {_FORMS}")
    if text.startswith("-"):
        raise _refused("out-of-range", "a duration cannot be negative")
    if _PLAIN.fullmatch(text):
        return parse_duration(float(text))
    if match := _ISO.fullmatch(text):
        units: tuple[float, ...] = (_UNITS["w"], _UNITS["d"], _UNITS["h"], _UNITS["m"], _UNITS["s"])
    elif match := _SHORT.fullmatch(text):
        units = tuple(_UNITS.values())
    else:
        raise _refused("validation-error", f"{text!r} is not a duration: {_FORMS}")
    parts = [float(number) * unit for number, unit in zip(match.groups(), units, strict=True) if number is not None]
    if not parts:
        raise _refused("validation-error", f"{text!r} is not a duration: {_FORMS}")
    return parse_duration(math.fsum(parts))


def _refused(code: str, message: str) -> InputInvalid:
    return InputInvalid([Fault("", code, message)])
