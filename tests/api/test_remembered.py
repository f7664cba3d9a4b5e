"""What a process remembers stays within its bound."""

from __future__ import annotations

from workflow_engine.api.remembered import Remembered


def test_what_was_not_used_for_longest_is_forgotten_first() -> None:
    memory: Remembered[str, int] = Remembered(3)
    for number, name in enumerate("abc"):
        memory.put(name, number)
    memory.get("a")

    memory.put("d", 3)

    assert [name for name in "abcd" if name in memory] == ["a", "c", "d"]


def test_sizes_count_and_what_is_too_large_is_not_kept() -> None:
    memory: Remembered[str, int] = Remembered(10)
    memory.put("a", 1, size=6)
    memory.put("a", 2, size=5)
    memory.put("b", 3, size=5)
    assert (memory.get("a"), memory.get("b")) == (2, 3)

    memory.put("c", 4, size=11)
    assert memory.get("c") is None
    memory.put("d", 5, size=6)
    assert [name for name in "abd" if name in memory] == ["d"]
