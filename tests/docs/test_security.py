"""docs/security.md says of every role what the code says of it."""

import re
from pathlib import Path

from workflow_engine.access import ROLES, Role, Scope

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text()


def test_every_scope_is_documented_with_the_roles_that_have_it() -> None:
    head = re.search(r"^\| scope \| \|(.*)\|$", PAGE, re.MULTILINE)
    assert head
    roles = [Role(name.strip()) for name in head[1].split("|")]
    assert roles == list(Role)
    documented = {
        Scope(scope): {role for role, cell in zip(roles, cells.split("|"), strict=True) if cell.strip()}
        for scope, cells in re.findall(r"^\| `([a-z]+:[a-z]+)` \|[^|]*\|(.*)\|$", PAGE, re.MULTILINE)
    }
    assert documented == {scope: {role for role in Role if scope in ROLES[role]} for scope in Scope if ":" in scope}


def test_each_role_may_what_those_before_it_in_rank_may() -> None:
    assert ROLES[Role.VIEWER] < ROLES[Role.STARTER] < ROLES[Role.OPERATOR] < ROLES[Role.ADMIN]
    assert ROLES[Role.STARTER] < ROLES[Role.AUTHOR] < ROLES[Role.ADMIN] == frozenset(Scope)
