"""Whatever a handler raises becomes an error that can be stored."""

import json

import pytest

from workflow_engine.errors import TaskError
from workflow_engine.handlers.failures import as_task_error


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text for you")


def test_an_ordinary_exception_becomes_a_retryable_user_error():
    error = as_task_error(KeyError("order"))
    assert (error.type, error.message, error.retryable) == ("user.KeyError", "'order'", True)


def test_a_task_error_stays_itself():
    error = TaskError("user.card_declined", "No funds", retryable=False, retry_after=3.0, details={"code": 51})
    assert as_task_error(error) is error


def test_an_exception_without_a_text_is_told_by_its_name():
    assert as_task_error(Unprintable()).message == "<unprintable Unprintable>"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a\x00b\ud800c"),
        ValueError("x" * 1_000_000),
        type("Näme" + "x" * 1000, (Exception,), {})("?"),
        TaskError("user.\x00", "bad\ud800", details={"at": float("nan")}),
        TaskError("user.big", "too much", details={"dump": "x" * 1_000_000}),
        TaskError("user.odd", "unserialisable", details={"self": object()}),
    ],
)
def test_what_postgres_could_not_store_is_replaced(error):
    text = json.dumps(as_task_error(error).as_json(1), allow_nan=False)
    assert "\\u0000" not in text
    assert "\\ud800" not in text
    assert len(text) < 100_000


def test_unstorable_details_leave_the_rest_of_the_error_intact():
    error = as_task_error(TaskError("user.odd", "Why", retryable=False, retry_after=5.0, details={"x": {1}}))
    assert (error.type, error.message, error.retryable, error.retry_after) == ("user.odd", "Why", False, 5.0)
    assert "/x is a set" in error.details["dropped"]
