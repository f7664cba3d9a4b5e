"""What the promise of the engine rests on in the configuration of Postgres.

Looked at when an engine begins to lead, and by `workflow-engine doctor`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

OLDEST_MAJOR, NEWEST_MAJOR = 15, 18
"""Versions of PostgreSQL that the engine is tested with."""

SETTINGS = """
    select name, setting from pg_settings where name in (
        'fsync', 'full_page_writes', 'synchronous_commit', 'autovacuum', 'track_counts', 'transaction_timeout',
        'default_transaction_isolation')
"""
"""What `unsafe_settings` wants to know, as this session has it; durations are in milliseconds."""

_LEAST_TRANSACTION_MILLISECONDS = 40_000  # the longest statement of the engine takes 30 s


@dataclass(frozen=True, slots=True)
class UnsafeSetting:
    """A setting of Postgres that does not go with the engine."""

    name: str
    value: str
    breaks: bool  # the promise; otherwise it is only unwise
    why: str
    fix: str


_ON = {
    "fsync": (True, "what was accepted is lost when the machine goes down, and tables may be broken"),
    "full_page_writes": (True, "tables may be broken when the machine goes down"),
    "autovacuum": (False, "tables and claims grow slower from day to day"),
    "track_counts": (False, "autovacuum does nothing without it"),
}


def unsafe_settings(found: Mapping[str, str]) -> list[UnsafeSetting]:
    """Those of the `SETTINGS` found that do not go with the engine, the worst first."""
    unsafe = [
        UnsafeSetting(name, found[name], breaks, why, f"alter system set {name} = on; select pg_reload_conf()")
        for name, (breaks, why) in _ON.items()
        if found.get(name, "on") != "on"
    ]
    if found.get("synchronous_commit") == "off":
        unsafe.append(
            UnsafeSetting(
                "synchronous_commit", "off", True,
                "what was accepted in the last second is lost when the server goes down",
                "alter role or database set synchronous_commit = on; see pg_db_role_setting",
            )
        )  # fmt: skip
    if 0 < int(found.get("transaction_timeout", "0")) < _LEAST_TRANSACTION_MILLISECONDS:
        unsafe.append(
            UnsafeSetting(
                "transaction_timeout", f"{found['transaction_timeout']} ms", False,
                "sweeps of large workflows may take 30 s and are begun again and again",
                f"set it to 0, or to more than {_LEAST_TRANSACTION_MILLISECONDS} ms, for the role of the engine",
            )
        )  # fmt: skip
    if found.get("default_transaction_isolation", "read committed") != "read committed":
        unsafe.append(
            UnsafeSetting(
                "default_transaction_isolation", found["default_transaction_isolation"], False,
                "the engine's transactions lock what they need; under another level they fail and are repeated",
                "alter role set default_transaction_isolation = 'read committed' for the role of the engine",
            )
        )  # fmt: skip
    return sorted(unsafe, key=lambda one: not one.breaks)
