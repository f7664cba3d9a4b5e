"""Keys and principals, without a database."""

import pytest

from workflow_engine.access import ANYONE, NOBODY, ROLES, Principal, Role, Scope, hide_keys, make_key, read_key

ANN = Principal("ann", ROLES[Role.STARTER], "k3v9x0q2m7ap", (Role.STARTER,), ("finance",))


def test_what_is_kept_of_a_key_proves_its_text_and_does_not_contain_it() -> None:
    key = make_key()
    shown = read_key(key.text)
    assert shown is not None
    assert (shown.id, shown.hash, len(key.hash)) == (key.id, key.hash, 32)
    secret = key.text.rpartition("_")[2]
    assert secret not in repr(key)
    assert secret.encode() not in key.hash
    assert make_key().text != key.text


def test_a_hash_proves_one_key_only() -> None:
    key, other = make_key(), make_key()
    mixed = read_key(f"wfk_{other.id}_{key.text.rpartition('_')[2]}")
    assert mixed is not None
    assert mixed.hash not in (key.hash, other.hash)


@pytest.mark.parametrize(
    "text",
    ["", "wfk_", "wfk_abc_def", "Bearer wfk_", f"wfk_{'a' * 12}_{'b' * 42}", f"wfk_{'A' * 12}_{'b' * 43}",
     f"wfk_{'a' * 12}_{'b' * 43}\n", f"wfk_{'a' * 12}_{'ü' * 43}"],
)  # fmt: skip
def test_what_is_no_whole_key_is_none(text: str) -> None:
    assert read_key(text) is None


def test_keys_are_hidden_in_texts_wherever_they_stand() -> None:
    key = make_key().text
    hidden = hide_keys(f"/x?token={key}&key={key[:30]}&a=b")
    assert hidden == "/x?token=wfk_***&key=wfk_***&a=b"
    assert hide_keys("/api/v1/workflows?limit=1") == "/api/v1/workflows?limit=1"


def test_nobody_can_sign_as_somebody_else() -> None:
    assert [ANN.signed(by) for by in (None, "", "ann", "bob", "bob via ann")] == [
        "ann", "ann", "ann", "bob via ann", "bob via ann via ann",
    ]  # fmt: skip
    assert [ANYONE.signed(by) for by in (None, "bob")] == [None, "bob"], "nobody is known"


@pytest.mark.parametrize(
    ("assignees", "may"), [([], True), (["ann"], True), (["bob", "finance"], True), (["bob"], False), (["ANN"], False)]
)
def test_an_approval_is_answered_by_its_assignees_and_their_groups(assignees: list[str], may: bool) -> None:
    assert ANN.may_answer_for(assignees) is may
    assert ANYONE.may_answer_for(assignees), "authentication is off"
    assert Principal("root", ROLES[Role.ADMIN], "id", (Role.ADMIN,)).may_answer_for(assignees)


def test_nobody_may_what_is_open_and_no_more() -> None:
    assert [scope for scope in Scope if NOBODY.may(scope)] == [Scope.OPEN]
    assert all(ANYONE.may(scope) for scope in Scope)
