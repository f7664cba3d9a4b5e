"""What handlers log is kept within bounds, as PostgreSQL can store it."""

from typing import Any

import orjson

from workflow_engine.worker.task_log import MAX_BYTES, MAX_LINES, TaskLog


def record(message: Any, **fields: Any) -> dict[str, Any]:
    return {"event": message, "level": "info", "time": "2026-01-31T12:00:00Z", **fields}


def test_nothing_logged_is_nothing_kept() -> None:
    assert TaskLog().lines() is None


def test_a_line_has_its_fields_without_what_is_known_of_its_attempt() -> None:
    log = TaskLog()
    log.add(record("resized", width=64, ratio=0.5, done=True, nothing=None, workflow_id="x", attempt=1, role="worker"))
    assert log.lines() == [
        {
            "time": "2026-01-31T12:00:00Z",
            "level": "info",
            "message": "resized",
            "fields": {"width": 64, "ratio": 0.5, "done": True},
        }
    ]


def test_the_oldest_lines_give_way_and_a_line_says_how_many() -> None:
    log = TaskLog()
    for number in range(MAX_LINES + 50):
        log.add(record(f"line {number}"))
    lines = log.lines()
    assert lines is not None
    assert [line["message"] for line in lines[:2]] == ["50 earlier lines were not kept", "line 50"]
    assert lines[-1]["message"] == f"line {MAX_LINES + 49}"


def test_large_lines_are_bounded_together_and_alone() -> None:
    log = TaskLog()
    for _ in range(100):
        log.add(record("large", text="x" * 3000))
    log.add(record("huge", **{f"field{number}": "x" * 3000 for number in range(20)}))
    lines = log.lines()
    assert lines is not None
    assert len(orjson.dumps(lines)) < MAX_BYTES + 1000
    assert lines[-1]["message"] == "huge"
    assert list(lines[-1]["fields"]) == ["left_out"]


def test_what_postgres_cannot_store_is_replaced() -> None:
    log = TaskLog()
    log.add(record("nul \x00 and \ud800", thing=object(), big=2**70, items=[1, {"a": 2}], **{"na\x00me": "v"}))
    lines = log.lines()
    assert lines is not None
    text = orjson.dumps(lines).decode()
    assert "\\u0000" not in text
    assert lines[0]["fields"]["big"] == str(2**70)
