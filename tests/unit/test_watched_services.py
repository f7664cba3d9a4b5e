"""How patiently the stack starts again what dies."""

import pytest

from workflow_engine.embedded.services import LONGEST_DELAY_SECONDS, STEADY_SECONDS, Watched
from workflow_engine.errors import StackUnavailable


class Mortal:
    """A service that dies when told."""

    def __init__(self) -> None:
        self.alive = True
        self.starts = 0
        self.refuses = False

    @property
    def pid(self) -> int | None:
        return self.starts if self.alive else None

    def start(self) -> None:
        if self.refuses:
            raise StackUnavailable("not today")
        self.alive = True
        self.starts += 1

    def stop(self) -> None:
        self.alive = False


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def delay_until_restart(watched: Watched, clock: Clock) -> float:
    died = clock.now
    while not watched.tend():
        clock.now += 0.01
    return round(clock.now - died, 1)


def test_what_lives_is_left_alone() -> None:
    service = Mortal()
    assert not Watched("it", service, clock=Clock()).tend()
    assert service.starts == 0


def test_the_first_restart_is_immediate_and_later_ones_wait_longer_up_to_a_bound() -> None:
    service, clock = Mortal(), Clock()
    watched = Watched("it", service, clock=clock)
    delays = []
    for _ in range(10):
        service.alive = False
        delays.append(delay_until_restart(watched, clock))
    assert delays[0] == 0
    assert delays == sorted(delays)
    assert 0 < delays[1] < 0.5
    assert delays[-1] == LONGEST_DELAY_SECONDS


def test_a_service_that_lived_long_enough_is_forgiven_its_earlier_deaths() -> None:
    service, clock = Mortal(), Clock()
    watched = Watched("it", service, clock=clock)
    for _ in range(3):
        service.alive = False
        delay_until_restart(watched, clock)
    clock.now += STEADY_SECONDS + 1
    service.alive = False
    assert delay_until_restart(watched, clock) == 0


def test_a_start_that_fails_is_tried_again() -> None:
    service, clock = Mortal(), Clock()
    watched = Watched("it", service, clock=clock)
    service.alive, service.refuses = False, True
    with pytest.raises(StackUnavailable):
        watched.tend()
    service.refuses = False
    assert delay_until_restart(watched, clock) > 0
    assert service.alive
