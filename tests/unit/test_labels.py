"""Labels whose values people choose are bounded, whatever values there are."""

from workflow_engine.observability.labels import OTHER, Labels


def test_ten_thousand_definitions_have_no_more_labels_than_are_allowed() -> None:
    labels = Labels(100)
    names = [f"made-up-{number}" for number in range(10_000)]
    assert not labels.full
    assert labels.admit(names) == names[:100]
    assert labels.full
    assert labels.admit(names) == []
    assert {labels.of(name) for name in names} == {*names[:100], OTHER}


def test_a_label_stays_and_what_is_not_known_any_more_is_other() -> None:
    labels = Labels(2)
    assert labels.admit(["a"]) == ["a"]
    assert labels.admit(["a", "b", "c", "b"]) == ["b"]
    assert [labels.of(name) for name in ("a", "b", "c", None)] == ["a", "b", OTHER, OTHER]


def test_no_definition_has_a_label_where_none_is_allowed() -> None:
    labels = Labels(0)
    assert labels.admit(["a"]) == []
    assert (labels.full, labels.of("a")) == (True, OTHER)
