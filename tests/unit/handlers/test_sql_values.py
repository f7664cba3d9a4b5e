"""Values between JSON and SQL, and what the errors of a database mean."""

import datetime
import decimal
import ipaddress
import uuid

import psycopg
import pytest
from psycopg.types.range import Range

from workflow_engine.handlers.database import first_word
from workflow_engine.handlers.sql_values import as_database_error, as_json

D = decimal.Decimal


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (7, 7),
        ("text", "text"),
        (1.5, 1.5),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (D("42"), 42),
        (D("4E+2"), 400),
        (D("0.10"), "0.10"),
        (D("1.0"), "1.0"),
        (D("NaN"), "NaN"),
        (D("-Infinity"), "-Infinity"),
        (D(2**63), str(2**63)),
        (D(2**63 - 1), 2**63 - 1),
        (D("1E+400"), "1E+400"),
        (datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC), "2026-01-02T03:04:05+00:00"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.time(3, 4, 5), "03:04:05"),
        (datetime.timedelta(minutes=1.5), 90.0),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"\x00\xff", {"base64": "AP8="}),
        ([1, D("2.5"), [b"x"]], [1, "2.5", [{"base64": "eA=="}]]),
        ({"a": D("2.5")}, {"a": "2.5"}),
        (ipaddress.ip_address("10.0.0.1"), "10.0.0.1"),
        (Range(1, 5), "[1, 5)"),
    ],
)
def test_columns_become_json_that_loses_nothing(value, expected):
    result = as_json(value)
    assert (result, type(result)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("error", "type", "retryable"),
    [
        (psycopg.OperationalError("gone"), "connection", True),
        (psycopg.InterfaceError("closed"), "connection", True),
        (psycopg.ProgrammingError("the query has 1 placeholder"), "validation", False),
        (psycopg.errors.ConnectionFailure(), "database.08006", True),
        (psycopg.errors.SerializationFailure(), "database.40001", True),
        (psycopg.errors.DeadlockDetected(), "database.40P01", True),
        (psycopg.errors.LockNotAvailable(), "database.55P03", True),
        (psycopg.errors.AdminShutdown(), "database.57P01", True),
        (psycopg.errors.TooManyConnections(), "database.53300", True),
        (psycopg.errors.QueryCanceled(), "database.57014", True),
        (psycopg.errors.QueryCanceled("canceling statement due to statement timeout"), "timeout", True),
        (psycopg.errors.UniqueViolation(), "database.23505", False),
        (psycopg.errors.UndefinedTable(), "database.42P01", False),
        (psycopg.errors.ReadOnlySqlTransaction(), "database.25006", False),
    ],
)
def test_errors_that_pass_by_themselves_are_retryable(error, type, retryable):
    result = as_database_error(error, "reports")
    assert (result.type, result.retryable) == (type, retryable)


def test_a_statement_that_took_too_long_says_so_in_the_words_operators_search_for():
    error = psycopg.errors.QueryCanceled("canceling statement due to statement timeout")
    assert as_database_error(error, "reports").message.startswith("Task exceeded maximum runtime")


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("select 1", "select"),
        ("  \n COMMIT", "commit"),
        ("; ;commit", "commit"),
        ("-- select\ncommit", "commit"),
        ("/* /* nested */ select */ commit", "commit"),
        ("/**/--x\n/*y*/commit", "commit"),
        ("/* never ends commit", ""),
        ("(select 1)", ""),
        ("", ""),
    ],
)
def test_the_first_word_is_found_behind_comments(sql, word):
    assert first_word(sql) == word
