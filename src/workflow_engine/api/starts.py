"""Start requests: the bodies of `POST /workflows`, read and checked; nothing is stored here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from workflow_engine.definition.document import read_labels, read_name
from workflow_engine.definition.faults import Faults, join
from workflow_engine.definition.fields import Fields
from workflow_engine.definition.limits import MAX_PRIORITY
from workflow_engine.definition.scope import json_type
from workflow_engine.errors import Fault, InputInvalid, RequestRefused

MAX_BATCH = 1000
_MAX_VERSION = 2**31 - 1
# Fields of the start; with `steps`, all other fields are the definition.
_OWN = ("input", "labels", "priority")
_BY_NAME = ("name", "version", *_OWN, "steps")


@dataclass(frozen=True, slots=True)
class StartRequest:
    """One workflow to start.

    Attributes:
        name: Of a registered definition; ignored when there is a document.
        version: Of that definition; None = the pinned one, else the latest.
        document: A definition that comes with the request, or None.
        input: Of the workflow.
        labels: Of the workflow.
        priority: Of the workflow; None = the definition's.
        pointer: Where the request stands in the body.
    """

    name: str
    version: int | None
    document: Mapping[str, Any] | None
    input: Any
    labels: Mapping[str, str]
    priority: int | None
    pointer: str


def read_start(body: Any, pointer: str = "") -> StartRequest:
    """Read a start request.

    Args:
        body: JSON data.
        pointer: Where it stands in the whole body.

    Raises:
        InputInvalid: With everything that is wrong with the fields of the start; a document is not looked into.
    """
    if not isinstance(body, dict):
        raise InputInvalid([Fault(pointer, "validation-error", f"must be an object, not {json_type(body)}")])
    faults = Faults()
    fields = Fields(body, pointer, faults)
    document = None
    name = ""
    if "steps" in body:
        document = {field: value for field, value in body.items() if field not in _OWN}
        if document.pop("version", None) is not None:
            fields.fault("version", "validation-error", "belongs to a start by name; steps make their own version")
    else:
        fields.refuse_unknown(_BY_NAME)
        name = read_name(fields)
    request = StartRequest(
        name=name,
        version=fields.integer("version", 1, _MAX_VERSION) if document is None else None,
        document=document,
        input=body.get("input", {}),
        labels=read_labels(fields),
        priority=fields.integer("priority", -MAX_PRIORITY, MAX_PRIORITY),
        pointer=pointer,
    )
    if faults:
        raise InputInvalid(faults.found)
    return request


def read_batch(body: Any, limit: int) -> list[StartRequest]:
    """Read a list of start requests.

    Args:
        body: JSON data.
        limit: Most bytes of one item.

    Raises:
        InputInvalid: It is no list of 1 to `MAX_BATCH` start requests; with what is wrong with all of them.
        RequestRefused: An item is too large.
    """
    if not isinstance(body, list):
        raise InputInvalid([Fault("", "validation-error", f"must be a list, not {json_type(body)}")])
    if not 1 <= len(body) <= MAX_BATCH:
        raise InputInvalid([Fault("", "out-of-range", f"must have 1 to {MAX_BATCH:,} items, not {len(body):,}")])
    faults = Faults()
    starts = []
    for index, item in enumerate(body):
        if len(orjson.dumps(item)) > limit:
            raise RequestRefused("payload-too-large", f"Item {index} is larger than {limit:,} bytes.")
        try:
            starts.append(read_start(item, join("", index)))
        except InputInvalid as error:
            faults.add_from("", error)
    if faults:
        raise InputInvalid(faults.found)
    return starts
