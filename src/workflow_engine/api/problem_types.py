"""Every type of problem: its status, what it means, and what to do about it.

One table for the answers, the OpenAPI document, `GET /api/v1/problems` and `docs/problems.md`. A slug never changes its
meaning; a new one is added at the end of its status.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A type of problem.

    Attributes:
        status: The HTTP status of its answers.
        meaning: What has happened.
        remedy: What the caller can do about it.
    """

    status: int
    meaning: str
    remedy: str


_FIX_THE_PLACE = "Correct the place that `errors` names."

PROBLEM_TYPES: dict[str, ProblemType] = {
    "malformed-request": ProblemType(
        400,
        "The request is not HTTP as RFC 9112 has it.",
        "Percent-encode what is not ASCII in the URL; send one `Host`, and a `Content-Length` or chunks, not both.",
    ),
    "malformed-json": ProblemType(
        400, "The body is empty, cut off, not JSON, or not UTF-8.", "Send one JSON document in UTF-8, without a BOM."
    ),
    "malformed-yaml": ProblemType(
        400, "The body is declared as YAML, and is empty or none.", "Correct the line that the detail names."
    ),
    "duplicate-json-key": ProblemType(
        400,
        "An object has a key twice; readers would disagree on which one counts.",
        "Leave one of them out.",
    ),
    "invalid-idempotency-key": ProblemType(
        400,
        "The key is empty, too long, not printable, or sent twice.",
        "Send one `Idempotency-Key` of 1 to 255 printable ASCII characters, such as a UUID.",
    ),
    "unauthorized": ProblemType(
        401,
        "No key, or none that is good; `detail` says whether it is unknown, expired or revoked.",
        "Send `Authorization: Bearer wfk_...`; `workflow-engine token create` makes a key.",
    ),
    "forbidden": ProblemType(
        403,
        "The key is good and may not do this; `detail` names the scope that is missing, or the assignees of the "
        "approval.",
        "Use a key with a role that has the scope.",
    ),
    "origin-not-allowed": ProblemType(
        403,
        "A page of another origin asked for a change through somebody's browser.",
        "If the page is yours, add its host to `WORKFLOW_ALLOWED_HOSTS`.",
    ),
    "not-found": ProblemType(404, "There is nothing at this path.", "See `/docs` for all paths."),
    "workflow-not-found": ProblemType(
        404,
        "There is no workflow with this id.",
        "`GET /api/v1/workflows` lists recent ones; retention deletes old ones.",
    ),
    "task-not-found": ProblemType(
        404, "There is no task with this id.", "`GET /api/v1/workflows/{workflow_id}/tasks` lists those of a workflow."
    ),
    "schedule-not-found": ProblemType(
        404,
        "The definition has no schedule, or there is no such definition.",
        "`GET /api/v1/schedules` lists those in force.",
    ),
    "task-type-not-found": ProblemType(
        404,
        "There is no task type with this name; the hint names those there are.",
        "Start a worker that brings it, or correct the name.",
    ),
    "definition-not-found": ProblemType(
        404,
        "Workflow definition not found: the name or the version is unknown; the hint names those that exist.",
        "Register it with `POST /api/v1/definitions`, or correct the name.",
    ),
    "approval-not-found": ProblemType(
        404, "There is no approval with this id.", "`GET /api/v1/approvals` lists those that are open."
    ),
    "delivery-not-found": ProblemType(
        404, "Nothing with this id is in the outbox.", "`GET /api/v1/outbox` lists what is not delivered."
    ),
    "worker-not-found": ProblemType(
        404,
        "There is no worker with this id: it stopped, or is another one since it began anew.",
        "`GET /api/v1/workers` lists those that are alive.",
    ),
    "problem-not-found": ProblemType(
        404, "There is no problem type with this code.", "`GET /api/v1/problems` lists all."
    ),
    "method-not-allowed": ProblemType(
        405, "The path is right, the method is not; `Allow` lists those that are.", "Use one of these methods."
    ),
    "not-acceptable": ProblemType(
        406, "The `Accept` header excludes JSON.", "Leave it out, or add `application/json` to it."
    ),
    "request-timeout": ProblemType(
        408,
        "The request did not arrive within `WORKFLOW_REQUEST_TIMEOUT` seconds.",
        "Send it in one go; on a slow line send less at once.",
    ),
    "conflict": ProblemType(409, "The request contradicts the present state.", "Read the state and decide anew."),
    "invalid-transition": ProblemType(
        409,
        "The state does not allow it: cancelling what has ended, retrying what runs.",
        "Nothing, if the state is the one you wanted; else see the hint.",
    ),
    "definition-disabled": ProblemType(
        409, "The definition was deleted; it starts nothing new.", "Register it again, with any content."
    ),
    "already-started": ProblemType(
        409,
        "The definition's `idempotency` rejects a second start with this key; `workflow_id` names the first.",
        "Look at that workflow instead.",
    ),
    "concurrency-limit": ProblemType(
        409,
        "As many workflows with this concurrency key run as may, and the definition rejects more; `workflow_id` names "
        "the oldest of them.",
        "Start it when that one has ended, or let the definition queue.",
    ),
    "budget-exceeded": ProblemType(
        409,
        "The workflow is paused because its budget is used up: raise it, and the workflow goes on.",
        "`POST /api/v1/workflows/{workflow_id}/budget`.",
    ),
    "too-many-signals": ProblemType(
        409,
        "The workflow has 10,000 signals that no step has taken.",
        "Find out why nothing takes them: `GET /api/v1/workflows/{workflow_id}/why`; send one signal for many facts.",
    ),
    "precondition-failed": ProblemType(
        412, "It was changed since the state that `If-Match` names.", "Read it again and repeat the change."
    ),
    "payload-too-large": ProblemType(
        413,
        "The body is larger than allowed (`WORKFLOW_MAX_PAYLOAD_BYTES`).",
        "Store large data elsewhere and pass a reference.",
    ),
    "uri-too-long": ProblemType(
        414, "The path and the query are longer than 8,192 bytes.", "Ask for less at once; send ids in a body."
    ),
    "unsupported-media-type": ProblemType(
        415,
        "The body is not declared as JSON (or YAML, where that is taken), or is encoded; the detail says which header "
        "to add.",
        'Send it as it is, with `-H "Content-Type: application/json"`.',
    ),
    "host-not-allowed": ProblemType(
        421,
        "The engine is not known under the name in the `Host` header, and anonymous use is open only to names that no "
        "web site can take.",
        "Add the name to `WORKFLOW_ALLOWED_HOSTS`, or use `localhost` or an address.",
    ),
    "validation-error": ProblemType(
        422, "A field is missing, has another type, or is not accepted; or several things are wrong.", _FIX_THE_PLACE
    ),
    "invalid-parameter": ProblemType(
        422,
        "A parameter of the query is unknown, repeated, or has a value that is not accepted.",
        "The detail names it and what is accepted.",
    ),
    "idempotency-key-reused": ProblemType(
        422, "The key came before with another request.", "Use a new key for a new request."
    ),
    "key-missing": ProblemType(
        422,
        "The start lacks what a key of its definition (`idempotency`, `concurrency`) is made of; the detail names it.",
        "Send it with the input.",
    ),
    "cycle-detected": ProblemType(
        422,
        "Steps wait for each other; `cycle` lists them, the first again at the end.",
        "Remove one of these dependencies.",
    ),
    "duplicate-dependency": ProblemType(422, "A step names a dependency twice.", _FIX_THE_PLACE),
    "duplicate-property": ProblemType(422, "A field stands both on the step and under `inputs`.", _FIX_THE_PLACE),
    "duplicate-step-id": ProblemType(
        422, "Two steps have the same id, or ids that expressions cannot tell apart.", "Rename one of them."
    ),
    "egress-denied": ProblemType(
        422,
        "A URL names an address that no step may call: of the machine's surroundings, or a disguised one.",
        "Name the target by its host name, and have the operator allow it.",
    ),
    "expansion-limit": ProblemType(
        422,
        "Something would grow beyond what is allowed: more than 10,000 items, or three levels of `for_each`.",
        "Split the work into child workflows.",
    ),
    "invalid-character": ProblemType(
        422, "A text holds a NUL or half of a surrogate pair.", "Send binary data as base64."
    ),
    "invalid-header": ProblemType(422, "A header of an `http` step is not allowed or not valid.", _FIX_THE_PLACE),
    "invalid-name": ProblemType(
        422, "A name is not accepted or is reserved.", "Use `a-z`, `0-9`, `_` and `-`, a letter first, up to 128."
    ),
    "invalid-schedule": ProblemType(
        422, "A cron expression is not of five fields or never comes, or there is no such time zone.", _FIX_THE_PLACE
    ),
    "invalid-schema": ProblemType(
        422, "A schema is no JSON Schema, refers to elsewhere, or never ends.", "Keep references inside: `#/$defs/...`."
    ),
    "invalid-template": ProblemType(
        422, "An expression does not compile, or refers to what it cannot see.", _FIX_THE_PLACE
    ),
    "multiple-statements": ProblemType(
        422, "A `database` step has more than one SQL statement in one text.", "Use a list of statements."
    ),
    "nesting-too-deep": ProblemType(
        422, "The body is nested deeper than 64 levels, or steps deeper than 16.", "Flatten it, or use child workflows."
    ),
    "number-out-of-range": ProblemType(
        422, "An integer is beyond 2^53 - 1 either way, or a number is not finite.", "Send it as a string."
    ),
    "out-of-range": ProblemType(422, "A value is too small, too large or too long.", _FIX_THE_PLACE),
    "sql-interpolation": ProblemType(422, "SQL contains `${ }`; pass values as parameters.", "Use `params`."),
    "too-many-dependencies": ProblemType(
        422, "A step depends on too many steps.", "Let a step in between gather them."
    ),
    "too-many-edges": ProblemType(
        422, "The steps have too many dependencies in all.", "Let steps in between gather them, or use child workflows."
    ),
    "too-many-labels": ProblemType(422, "There are more than 64 labels.", "Put data into the input instead."),
    "too-many-properties": ProblemType(422, "An object has more than 10,000 fields.", "Use a list."),
    "too-many-steps": ProblemType(422, "The definition has too many steps.", "Use child workflows or `for_each`."),
    "unknown-connection": ProblemType(
        422, "A `database` step names no configured connection.", "Have it added to `WORKFLOW_CONNECTIONS`."
    ),
    "unknown-dependency": ProblemType(
        422, "A step depends on a step or case that does not exist, or that it cannot see.", _FIX_THE_PLACE
    ),
    "unknown-property": ProblemType(422, "A field is unknown.", _FIX_THE_PLACE),
    "unknown-secret": ProblemType(
        422,
        "An expression names a secret that the engine does not know.",
        "Have it set as `WORKFLOW_SECRET_<NAME>` or in `WORKFLOW_SECRETS_DIR`.",
    ),
    "unknown-step-type": ProblemType(
        422,
        "No worker has registered this task type; the known ones are named.",
        "Start a worker that brings it, or correct the name.",
    ),
    "url-not-allowed": ProblemType(422, "The URL's scheme or form is not allowed.", "Use `https://` or `http://`."),
    "rate-limited": ProblemType(
        429,
        "More requests than `WORKFLOW_RATE_LIMIT` allows one caller.",
        "Wait for as long as `Retry-After` says; start many workflows with one batch.",
    ),
    "headers-too-large": ProblemType(
        431, "The headers are larger than `WORKFLOW_MAX_HEADER_BYTES`.", "Send fewer or shorter ones."
    ),
    "internal-error": ProblemType(
        500, "A bug; it was logged with the request id.", "Tell whoever runs the engine the `instance`."
    ),
    "unavailable": ProblemType(
        503,
        "Postgres cannot be reached; `Retry-After` says when to try again.",
        "Repeat the request, with an `Idempotency-Key` where it starts something.",
    ),
    "engine-paused": ProblemType(
        503,
        "Somebody paused the engine: it accepts nothing new until it is resumed.",
        "Try again later, or `POST /api/v1/resume`.",
    ),
    "overloaded": ProblemType(
        503,
        "More waits than may: tasks (`WORKFLOW_MAX_PENDING`), or requests of this engine (`WORKFLOW_MAX_REQUESTS`). "
        "Nothing was accepted.",
        "Try again when `Retry-After` has passed; operators add workers or engines.",
    ),
}
