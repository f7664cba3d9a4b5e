"""What can be told about an SQL text without a database: that it is one statement, and a fixed one."""

from __future__ import annotations

import re

from workflow_engine.definition.faults import Faults

# Everything in which a semicolon ends nothing, or the beginning of it: block comments nest in Postgres, and a dollar
# quote ends with its own tag, so these two are followed by hand.
_OPAQUE = re.compile(
    r"""
      (?P<escaped> \b[eE]'(?:[^'\\]|''|\\.)*' )
    | (?P<quoted>  '(?:[^']|'')*' )
    | (?P<name>    "(?:[^"]|"")*" )
    | (?P<dollar>  (?<![\w$])\$(?:[^\W\d]\w*)?\$ )
    | (?P<line>    --[^\n]* )
    | (?P<block>   /\* )
    | (?P<end>     ; )
    """,
    re.VERBOSE | re.DOTALL,
)


def check_statement(sql: object, pointer: str, faults: Faults) -> None:
    """Note what makes an SQL text unacceptable: templates in it, no statement, or more than one."""
    if not isinstance(sql, str):
        return
    if "${" in sql:
        faults.add(
            pointer,
            "sql-interpolation",
            "SQL is never built from templates: write %(name)s in the statement and give the value under `params`",
        )
    elif (count := count_statements(sql)) > 1:
        faults.add(pointer, "multiple-statements", "only one statement; give several as a list under `statements`")
    elif count == 0:
        faults.add(pointer, "validation-error", "there is no statement in it")


def count_statements(sql: str) -> int:
    """How many statements a text holds; empty ones (`;;`) and comments do not count."""
    count, at, blank = 0, 0, True
    while match := _OPAQUE.search(sql, at):
        blank = blank and not sql[at : match.start()].strip()
        at = match.end()
        if match["end"]:
            count, blank = count + (not blank), True
        elif match["block"]:
            at = _after_comment(sql, at)
        elif match["dollar"]:
            close = sql.find(match["dollar"], at)
            at, blank = (len(sql) if close < 0 else close + len(match["dollar"])), False
        elif not match["line"]:
            blank = False
    blank = blank and not sql[at:].strip()
    return count + (not blank)


def _after_comment(sql: str, at: int) -> int:
    """The end of a block comment whose opening was just read."""
    depth = 1
    for match in re.compile(r"/\*|\*/").finditer(sql, at):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    return len(sql)
