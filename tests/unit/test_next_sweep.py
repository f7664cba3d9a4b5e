"""When the leader does a duty again that found nothing."""

import pytest

from workflow_engine.maintenance.leader import next_sweep


@pytest.mark.parametrize("prompt", [True, False])
def test_a_cheap_one_comes_each_time_its_period_is_over(prompt: bool) -> None:
    assert next_sweep(5.0, 0.01, prompt=prompt) == 5.0


def test_a_dear_one_takes_a_twentieth_of_the_time() -> None:
    assert next_sweep(5.0, 1.0, prompt=False) == 20.0


def test_a_dear_one_that_others_wait_for_is_half_a_second_late_at_most() -> None:
    assert next_sweep(5.0, 1.0, prompt=True) == 5.5
    assert next_sweep(5.0, 0.27, prompt=True) == pytest.approx(5.4)


def test_one_that_takes_longer_than_its_period_takes_half_of_the_time() -> None:
    assert next_sweep(1.0, 6.0, prompt=True) == 12.0
