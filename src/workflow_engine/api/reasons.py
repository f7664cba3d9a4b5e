"""Why something is done: whoever does it may say so, and it is kept with what was done and in the audit log."""

from __future__ import annotations

from fastapi import Request

from workflow_engine.access import hide_keys
from workflow_engine.api.auditing import told_why
from workflow_engine.api.bodies import read_fields
from workflow_engine.api.services import services
from workflow_engine.definition.fields import Fields
from workflow_engine.errors import InputInvalid

_LONGEST = 500


async def read_reason(request: Request) -> str | None:
    """The reason in a body that has nothing else, and may be left out.

    Raises:
        InputInvalid: It is none.
    """
    fields = await read_fields(request, ("reason",), limit=services(request).settings.max_payload_bytes)
    reason = reason_among(request, fields)
    if fields.faults:
        raise InputInvalid(fields.faults.found)
    return reason


def reason_among(request: Request, fields: Fields) -> str | None:
    """The reason among the fields of a body; what is wrong with it is noted with them."""
    reason = hide_keys(fields.text("reason", longest=_LONGEST) or "") or None
    told_why(request.scope, reason)
    return reason
