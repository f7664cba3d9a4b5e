"""The drills, so that they cannot rot: `make drill` runs the same."""

from types import ModuleType

import pytest
from support.stack import Stack

from drills import DRILLS


@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: f"{drill.NUMBER} {drill.TITLE}")
def test_drill(stack: Stack, drill: ModuleType) -> None:
    finding = drill.run(stack)
    assert finding.seen
    assert finding.cured_by
