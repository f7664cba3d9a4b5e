"""Secrets are found in what is told in every form in which they come back."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest

from workflow_engine.redaction import REDACTED, SHORTEST, Redactor, forms_of, without

SECRET = 'pä$$/"w0rd"+\\end key'
FORMS = forms_of([SECRET], SHORTEST)


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps({"k": [SECRET]}, ensure_ascii=False),
        json.dumps(json.dumps(SECRET)),
        json.dumps(SECRET.encode().decode("latin-1")),
        SECRET.encode().decode("latin-1"),
        html.escape(SECRET),
        quote(SECRET, safe='/$\\"+').lower(),
        repr(SECRET),
        repr(SECRET.encode()),
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        *(base64.b64encode(f"{'x' * n}:{SECRET}{'y' * n}".encode()).decode() for n in range(4)),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_secret_is_taken_out_however_it_is_written(text: str) -> None:
    shown = without(f"before {text} after", FORMS)
    assert REDACTED in shown
    assert shown.startswith("before ")
    for part in (SECRET, SECRET[:6], "w0rd", base64.b64encode(SECRET.encode()).decode()[4:16]):
        assert part not in shown


def test_it_is_taken_out_of_data_of_any_depth_and_nothing_else_changes() -> None:
    data = {"a": [1, None, True, 2.5, {SECRET: f"x{SECRET}", "same": "same"}], "b": (SECRET,)}
    assert without(data, FORMS) == {"a": [1, None, True, 2.5, {"***": "x***", "same": "same"}], "b": ["***"]}
    assert without(ValueError(SECRET), FORMS) == "***"


def test_the_longer_of_two_secrets_goes_first_and_lines_of_one_count_alone() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\nshort\n-----END KEY-----"
    assert without("abcdefgh-and-more", forms_of(["abcdefgh", "abcdefgh-and-more"], SHORTEST)) == "***"
    assert without("line MIIEvQIBADANBgkqhkiG of it", forms_of([key], SHORTEST)) == "line *** of it"
    assert without("-----BEGIN KEY-----", forms_of([key], SHORTEST)) == "-----BEGIN KEY-----"


def test_short_values_stay_for_they_are_words() -> None:
    assert forms_of(["test"], SHORTEST) == []
    redactor = Redactor()
    redactor.conceal("", "test")
    assert redactor.told("a test") == "a test"


def test_the_beginning_of_a_secret_at_the_end_of_a_clipped_text_goes_too() -> None:
    redactor = Redactor()
    redactor.conceal("s3cr3t-t0ken-of-the-shop")
    assert redactor.told("refused: s3cr3t-t0…") == "refused: ***…"
    assert redactor.told("refused: s3…") == "refused: s3…"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def-0123456789", "Authorization: Bearer ***"),
        ("basic dXNlcjpwYXNzd29yZA==", "basic ***"),
        ("connect postgresql://me:hunter2@db/x failed", "connect postgresql://***@db/x failed"),
        ("host=db password=hunter2 user=me", "host=db password=*** user=me"),
        ("key sk-proj-0123456789abcdefghij used", "key *** used"),
        ("ghp_0123456789abcdefABCDEF0123456789", "***"),
        ("wfk_ab12_0123456789abcdef0123", "***"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "***"),
        ("AKIAABCDEFGHIJKLMNOP", "***"),
        (
            "see https://example.com/a:b@c and the basic idea of 12",
            "see https://example.com/a:b@c and the basic idea of 12",
        ),
        ("task-sk-1 wfk_ab12 xox", "task-sk-1 wfk_ab12 xox"),
        ("needs basic authentication, not bearer credentials", "needs basic authentication, not bearer credentials"),
        ("the-sk-is-part-of-a-longer-name", "the-sk-is-part-of-a-longer-name"),
    ],
)
def test_what_looks_like_a_credential_is_not_told(text: str, shown: str) -> None:
    assert Redactor().told(text) == shown


def test_what_is_called_like_a_credential_is_not_told() -> None:
    fields = {"password": "x", "lease_token": "y", "X-Api-Key": "z", "headers": {"Authorization": "q"}, "tokens": "3"}
    shown = {"password": "***", "lease_token": "***", "X-Api-Key": "***", "headers": {"Authorization": "***"}}
    assert Redactor().told(fields) == {**shown, "tokens": "3"}
