"""The buttons that answer an approval."""

from __future__ import annotations

from workflow_engine.access import Principal, Scope
from workflow_engine.dashboard.actions import Action, Field
from workflow_engine.records import Approval

SIGNED = Field("by", "Your name", help="Kept with the answer.", kept=True)
_COMMENT = Field("comment", "Comment", kind="lines", within="data", help="Kept with the answer, as data.comment.")
_VERBS = {"approved": "Approve", "rejected": "Reject"}
_LONGEST_QUESTION = 600


def may_answer(approval: Approval, principal: Principal) -> bool:
    """Whether it is open, and for whoever looks."""
    may = principal.may(Scope.APPROVALS_ANSWER) and principal.may_answer_for(approval.assignees)
    return may and approval.status == "open"


def answers(approval: Approval, principal: Principal) -> list[Action]:
    """A button for each outcome; none where it has a form, which is on its own page, or is not to be answered."""
    if approval.form_schema is not None or not may_answer(approval, principal):
        return []
    question = (approval.prompt or "").strip() or "The question has no text."
    if len(question) > _LONGEST_QUESTION:
        question = f"{question[:_LONGEST_QUESTION]}…"
    return [
        Action(
            verb(outcome),
            f"/approvals/{approval.id}",
            Scope.APPROVALS_ANSWER,
            "Answered: {outcome}. The workflow goes on.",
            ask=question,
            body={"outcome": outcome},
            fields=(_COMMENT,) if principal.name else (_COMMENT, SIGNED),  # a key signs with its own name
        )
        for outcome in approval.outcomes
    ]


def verb(outcome: str) -> str:
    """What is done, as a button says it."""
    return _VERBS.get(outcome) or outcome.replace("_", " ").capitalize()
