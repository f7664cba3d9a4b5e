"""Reasons in words, as short as a cell of a table is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

_WORDS = {
    "no_workers": ("bad", "No worker is alive"),
    "no_worker_for_queue": ("bad", "No worker serves queue {}"),
    "no_worker_for_type": ("bad", "No worker can run {}"),
    "workers_busy": ("", "All workers are busy"),
    "paused": ("warn", "Paused"),
    "budget_exceeded": ("warn", "Budget used up: {}"),
    "lock_held_by": ("warn", "A lock is held by {}"),
    "queued_behind": ("", "Queued behind {}"),
    "rate_limited": ("", "Waits for a limit"),
    "waiting_dependency": ("", "Waits for earlier steps"),
    "waiting_signal": ("", "Waits for signal {}"),
    "waiting_approval": ("", "Waits for an approval"),
    "waiting_child": ("", "Waits for child workflow {}"),
    "lost_wakeup": ("bad", "Lost its place in the queue"),
}


@dataclass(frozen=True, slots=True)
class Why:
    """Why a workflow does not go on."""

    level: str  # `bad` and `warn` ask for somebody
    text: str
    until: datetime | None = None  # when it ends by itself
    kind: str = ""  # the word before the colon


def reason_in_words(reason: str | None) -> Why:
    """`pending_reason` for people; nothing of it says that the workflow goes on."""
    if reason is None:
        return Why("", "In progress")
    kind, _, about = reason.partition(":")
    if kind == "scheduled_until":
        return Why("", "Continues", datetime.fromisoformat(about))
    level, text = _WORDS.get(kind, ("", kind.replace("_", " ").capitalize()))
    return Why(level, text.format(about[-12:] if len(about) == 36 else about), kind=kind)
