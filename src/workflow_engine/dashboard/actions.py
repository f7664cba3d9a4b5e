"""What can be done on a page: a request of the API, sent by the page's script in the reader's name.

So the API decides who may, writes the audit log and says what came of it, and whoever wants to do the same from a shell
gets the curl line of exactly that request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from workflow_engine.access import Scope
from workflow_engine.api.answers import API


@dataclass(frozen=True, slots=True)
class Field:
    """What is asked for before the request is sent.

    Attributes:
        name: Of the parameter, or of the member of the body.
        label: What it is, for people.
        place: Where it goes; `whole`: it is the body.
        kind: How it is put in; `json` is any JSON value, `lines` a long text, `flag` a box to tick, and `duration` a
            length of time, as people write it, or where the API takes both a time.
        options: Of a `choice`: value and what it is called.
        value: What is there at first.
        help: A line below it.
        blank: What an empty one is: left out, or `null`.
        within: The member of the body whose member it is, such as `data`.
        required: Nothing is sent without it.
        hint: An example, shown where nothing is put in; of a value that is changed where it stands, below it.
        kept: The browser remembers what was put in, for the next time.
    """

    name: str
    label: str
    place: Literal["query", "body", "whole"] = "body"
    kind: Literal["text", "number", "json", "choice", "flag", "lines", "duration"] = "text"
    options: Sequence[tuple[str, str]] = ()
    value: str = ""
    help: str = ""
    blank: Literal["out", "null"] = "out"
    within: str = ""
    required: bool = False
    hint: str = ""
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    """What is asked of the API before an action, to say what it would do.

    Attributes:
        path: Of a GET, after `/api/v1`; it gets the same query as the action.
        says: What is said then; `{count}` is that member of the answer.
        counts: The member of the answer without which there is nothing to do.
    """

    path: str
    says: str
    counts: str


@dataclass(frozen=True, slots=True)
class Action:
    """A button.

    Attributes:
        label: On the button.
        path: Of the API, after `/api/v1`.
        scope: Who may not do what asks for it does not see the button.
        done: What is said when it is done; `{tasks}` is that member of the answer.
        ask: What it does, in a sentence. It is asked before; None: it is done at once.
        destroys: It ends something that cannot be had back.
        query: Parameters that are always sent.
        body: Members of the body that are always sent.
        fields: What is asked for before; they need `ask`.
        goes_to: A page to go to when it is done; `{id}` is that member of the answer.
        of_many: The request has pages (`next`), which are sent for one after the other; it takes `dry_run`, and what
            that says is shown before.
        if_match: The state that it is to change, where `static/edit.js` sends it.
        things: What there are many of: one, and more.
        trial: What says before what it would do; asked anew whenever something is put in.
    """

    label: str
    path: str
    scope: Scope
    done: str
    ask: str | None = None
    destroys: bool = False
    query: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = None
    fields: Sequence[Field] = ()
    goes_to: str | None = None
    of_many: bool = False
    if_match: str | None = None
    things: tuple[str, str] = ("workflow", "workflows")
    trial: Trial | None = None
    method: Literal["POST", "PATCH", "DELETE"] = "POST"

    def data(self) -> dict[str, Any]:
        """As the script reads it."""
        return {
            "label": self.label,
            "method": self.method,
            "path": f"{API}{self.path}",
            "query": dict(self.query or {}),
            "body": None if self.body is None else dict(self.body),
            "done": self.done,
            "ask": self.ask,
            "destroys": self.destroys,
            "fields": [{name: value for name, value in asdict(field).items() if value} for field in self.fields],
            "goes_to": self.goes_to,
            "of_many": self.of_many,
            "if_match": self.if_match,
            "things": self.things,
            "trial": None if self.trial is None else {**asdict(self.trial), "path": f"{API}{self.trial.path}"},
        }
