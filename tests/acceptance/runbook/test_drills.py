"""The drills, so that they cannot rot: `make drill` runs the same. That of deadlocks is row D05."""

from types import ModuleType

import pytest
from support.stack import Stack

from drills import DRILLS, deadlock


@pytest.mark.parametrize(
    "drill", [drill for drill in DRILLS if drill is not deadlock], ids=lambda drill: f"{drill.NUMBER} {drill.TITLE}"
)
def test_drill(stack: Stack, drill: ModuleType) -> None:
    finding = drill.run(stack)
    assert finding.seen
    assert finding.cured_by
