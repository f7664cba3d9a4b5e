"""`database`: runs SQL on a named connection, or stores a record in the commit that completes the task."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

import orjson
import psycopg
from psycopg.pq import TransactionStatus
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from workflow_engine.errors import StoreUnavailable, TaskError
from workflow_engine.handlers.base import Handle, Outcome, TaskContext
from workflow_engine.handlers.connections import ENGINE, Connection, Connections
from workflow_engine.handlers.inputs import Inputs, invalid, parse_inputs
from workflow_engine.handlers.output import encode_output
from workflow_engine.handlers.sql_values import as_database_error, as_json, as_parameter
from workflow_engine.settings import DatabaseConnection, Settings

_COMPLETE = "SELECT workflow.complete_task(%s::bigint, %s::integer, %s::uuid, %s::jsonb)"
_LIMIT_TIME = """SELECT set_config('statement_timeout', %(ms)s, true),
                        set_config('idle_in_transaction_session_timeout', %(idle_ms)s, true)"""
_IDLE_MILLISECONDS = 1000
_GAP = re.compile(r"[\s;]+|--[^\n]*")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_WORD = re.compile(r"[A-Za-z]+")
_TRANSACTION_CONTROL = frozenset(
    {"begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release", "prepare"}
)


def _leaving_the_transaction_alone(statement: str) -> str:
    if first_word(statement) in _TRANSACTION_CONTROL:
        raise ValueError("a step cannot control its transaction: its statements run in one, which the engine ends")
    return statement


Sql = Annotated[str, AfterValidator(_leaving_the_transaction_alone)]


def _parameters(params: Any) -> Any:
    if not isinstance(params, list | dict):
        raise ValueError("must be a list, for %s, or an object, for %(name)s")
    return params


Parameters = Annotated[Any, AfterValidator(_parameters)]


class Statement(Inputs):
    statement: Sql
    params: Parameters = None


def _with_parameters(value: Any) -> Any:
    return {"statement": value} if isinstance(value, str) else value


class DatabaseInputs(Inputs):
    connection: str = ENGINE
    statement: Sql | None = None
    statements: list[Annotated[Statement, BeforeValidator(_with_parameters)]] | None = Field(
        default=None, min_length=1, max_length=100
    )
    params: Parameters = None
    mode: Literal["query", "execute"] | None = None
    transactional: bool = False
    max_rows: int = Field(default=1000, ge=1, le=100_000)

    @model_validator(mode="after")
    def _consistent(self) -> DatabaseInputs:
        if (self.statement is None) == (self.statements is None):
            raise ValueError("give either `statement` or `statements`")
        if self.statements is not None and self.params is not None:
            raise ValueError("with `statements`, each has its own `params`")
        if self.transactional and self.connection != ENGINE:
            raise ValueError(f"`transactional` works on the connection `{ENGINE}` only: one commit needs one database")
        if self.transactional and self.mode == "query":
            raise ValueError("`transactional` completes the task in the transaction, so its mode is `execute`")
        return self

    @property
    def writes(self) -> bool:
        return self.transactional or self.mode == "execute"

    def in_order(self) -> list[Statement]:
        """The statements, each with its parameters."""
        if self.statements is not None:
            return self.statements
        return [Statement.model_construct(statement=self.statement or "", params=self.params)]


def database_handler(settings: Settings, connections: Connections) -> Handle:
    """The handler of `database`."""

    async def handle(inputs: dict[str, Any], ctx: TaskContext) -> Outcome:
        if inputs.get("statement") is None and inputs.get("statements") is None:
            return _record(inputs, ctx)
        wanted = parse_inputs(DatabaseInputs, inputs)
        bounds = connections.bounds(wanted.connection)
        if bounds is not None and bounds.read_only and wanted.writes:
            raise invalid(f"The connection {wanted.connection!r} is for reading only.")
        run = _Run(wanted, ctx, settings.max_payload_bytes, bounds, deadline=time.monotonic() + ctx.timeout)
        try:
            async with connections.lend(wanted.connection) as connection:
                return await run.on(connection)
        except psycopg.Error as error:
            raise as_database_error(error, wanted.connection) from error
        except StoreUnavailable as error:
            raise TaskError("connection", error.detail) from error

    return handle


def _record(inputs: dict[str, Any], ctx: TaskContext) -> Outcome:
    """Without SQL: the step's inputs, or else what it depends on, stored as a row in the completing commit."""
    own = {name for name in DatabaseInputs.model_fields if inputs.get(name) is not None}
    if inputs.get("connection") not in (None, ENGINE):
        raise invalid(f"/statement: missing; only the connection `{ENGINE}` stores records")
    if misplaced := own - {"connection", "transactional"}:
        raise invalid(f"/statement: missing, though there is `{min(misplaced)}`")
    data = {name: value for name, value in inputs.items() if name not in DatabaseInputs.model_fields}
    return Outcome({"stored": True}, record=data or dict(ctx.dependencies))


@dataclass(frozen=True, slots=True)
class _Run:
    """One attempt: its statements in one transaction, ended before the attempt's time is up."""

    wanted: DatabaseInputs
    ctx: TaskContext
    max_bytes: int
    bounds: DatabaseConnection | None  # of its connection
    deadline: float  # of time.monotonic()

    async def on(self, connection: Connection) -> Outcome:
        async with self._transaction(connection):
            results = []
            for statement in self.wanted.in_order():
                await self._limit_time(connection)
                results.append(await self._result(connection, statement))
            output = results[0] if self.wanted.statements is None else {"results": results}
            if self.wanted.transactional:
                encoded = encode_output(self.ctx.redact(output), self.max_bytes).decode()
                await self._limit_time(connection)
                task = (self.ctx.task_id, self.ctx.attempt, self.ctx.lease_token, encoded)
                await connection.execute(_COMPLETE, task)
        return Outcome(output, settled=self.wanted.transactional)

    @asynccontextmanager
    async def _transaction(self, connection: Connection) -> AsyncIterator[None]:
        await connection.execute("BEGIN READ WRITE" if self.wanted.writes else "BEGIN READ ONLY")
        try:
            yield
        except (psycopg.Error, TaskError):
            if not connection.closed and connection.info.transaction_status != TransactionStatus.ACTIVE:
                await connection.execute("ROLLBACK")
            raise
        try:
            await connection.execute("COMMIT")
        except psycopg.Error as error:
            if error.sqlstate is None:
                # Whether it was committed nobody knows. A transactional step is safe: if it was, the next attempt is
                # never claimed. Elsewhere the statement may run twice, as any handler may.
                raise TaskError("connection", "The connection was lost in COMMIT: the outcome is unknown.") from error
            raise

    async def _limit_time(self, connection: Connection) -> None:
        """Bound the next statement. It also takes the snapshot, after which a transaction stays read-only."""
        remaining = self.deadline - time.monotonic()
        if self.bounds is not None and self.bounds.statement_seconds is not None:
            remaining = min(remaining, self.bounds.statement_seconds)
        milliseconds = max(1, int(remaining * 1000))
        # A worker that stands still for longer than that holds locks for nothing; one on a busy machine does not.
        idle = milliseconds + _IDLE_MILLISECONDS
        await connection.execute(_LIMIT_TIME, {"ms": str(milliseconds), "idle_ms": str(idle)})

    async def _result(self, connection: Connection, statement: Statement) -> dict[str, Any]:
        cursor: psycopg.AsyncCursor[Any]
        parameters: Any
        if statement.params is None:  # then `%` means itself
            cursor, parameters = psycopg.AsyncRawCursor(connection), []
        elif isinstance(statement.params, dict):
            cursor = psycopg.AsyncCursor(connection)
            parameters = {name: as_parameter(value) for name, value in statement.params.items()}
        else:
            cursor, parameters = psycopg.AsyncCursor(connection), [as_parameter(value) for value in statement.params]
        try:
            return await (self._written if self.wanted.writes else self._read)(cursor, statement.statement, parameters)
        except TypeError as error:  # psycopg's word for a list where the placeholders have names, and the reverse
            raise invalid(f"The parameters do not fit the statement: {error}") from error

    async def _written(self, cursor: psycopg.AsyncCursor[Any], sql: str, parameters: Any) -> dict[str, Any]:
        # A pipeline uses the extended protocol even without parameters, and so refuses two statements in one text.
        async with cursor.connection.pipeline():
            await cursor.execute(sql, parameters)
        rows = await self._rows(cursor, cursor) if cursor.description is not None else []
        return {"rows": rows, "row_count": max(cursor.rowcount, 0)}

    async def _read(self, cursor: psycopg.AsyncCursor[Any], sql: str, parameters: Any) -> dict[str, Any]:
        # Row by row, so that a result of any size can be refused without being held.
        found = cast("AsyncGenerator[Any]", cursor.stream(sql, parameters))
        async with aclosing(found) as stream:
            rows = await self._rows(cursor, stream)
        return {"rows": rows, "row_count": len(rows)}

    async def _rows(self, cursor: psycopg.AsyncCursor[Any], source: AsyncIterator[Any]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        size = 0
        most, advice = self.wanted.max_rows, "add a LIMIT, or raise `max_rows`"
        if self.bounds is not None and self.bounds.max_rows is not None and self.bounds.max_rows < most:
            most, advice = self.bounds.max_rows, f"the connection {self.wanted.connection!r} gives no more"
        async for values in source:
            if len(rows) == most:
                raise TaskError(
                    "result_too_large", f"The result has more than {most:,} rows: {advice}.", retryable=False
                )
            row = dict(zip(_column_names(cursor), map(as_json, values), strict=True))
            size += len(orjson.dumps(row))
            if size > self.max_bytes:
                raise TaskError(
                    "response_too_large", f"The result is larger than {self.max_bytes:,} bytes.", retryable=False
                )
            rows.append(row)
        return rows


def _column_names(cursor: psycopg.AsyncCursor[Any]) -> list[str]:
    names = [column.name for column in cursor.description or ()]
    if len(set(names)) < len(names):
        raise invalid(f"Two columns of the result have the same name ({', '.join(names)}): rename one with AS.")
    return names


def first_word(sql: str) -> str:
    """The first word of a statement in lower case, behind white space, comments (which nest) and stray semicolons."""
    at = 0
    while at < len(sql):
        if gap := _GAP.match(sql, at):
            at = gap.end()
        elif sql.startswith("/*", at):
            at = _after_comment(sql, at)
        else:
            break
    word = _WORD.match(sql, at)
    return word[0].lower() if word else ""


def _after_comment(sql: str, at: int) -> int:
    depth = 0
    for edge in _COMMENT_EDGE.finditer(sql, at):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)
