"""A definition as a picture: steps inside steps stand behind the one that opens them."""

from workflow_engine.definition.compile import compile_definition
from workflow_engine.definition.drawing.of_plan import picture_of
from workflow_engine.definition.drawing.text import outline

DOCUMENT = {
    "name": "orders",
    "on_exit": {"steps": [{"id": "tell", "type": "noop"}]},
    "steps": [
        {"id": "read", "type": "http", "url": "https://example.com"},
        {
            "id": "each",
            "depends_on": ["read"],
            "type": "block",
            "for_each": {"items": "${ steps.read.output.body.orders }"},
            "steps": [
                {"id": "check", "type": "noop"},
                {"id": "poll", "type": "noop", "depends_on": ["check"], "loop": {"until": "true"}},
            ],
        },
        {
            "id": "charge",
            "type": "noop",
            "depends_on": ["each"],
            "on_error": {"catch": [{"errors": ["*"], "steps": [{"id": "check", "type": "noop"}]}]},
            "compensate": {"type": "noop"},
        },
    ],
}


def test_every_step_is_drawn_once_with_its_path() -> None:
    plan = compile_definition(DOCUMENT).plan

    lines = [" ".join(line.split()) for line in outline(picture_of(plan, "orders")).splitlines()]

    assert lines[0] == "orders"
    assert sorted(lines[1:]) == [
        "charge noop after each",
        "charge.catch.check noop after charge",
        "charge.compensate noop after charge",
        "each for_each · block after read",
        "each.check noop after each",
        "each.poll loop · noop after each.check",
        "on_exit block",
        "on_exit.tell noop after on_exit",
        "read http",
    ]
