"""The settings of training: their courses over the steps and their ranges."""

import math

import pytest

from gossamer.errors import ConfigError
from gossamer.learning import TrainingConfig


def test_the_weight_grows_between_two_shares_of_the_steps():
    schedule = TrainingConfig(steps=100, weight=8.0, ramp_start=0.2, ramp_end=0.6).schedule()
    assert [schedule.at(step) for step in (0, 20, 40, 60, 99)] == pytest.approx([0, 0, 2, 8, 8])


def test_a_ramp_without_length_is_a_step():
    schedule = TrainingConfig(steps=100, weight=8.0, ramp_start=0.5, ramp_end=0.5).schedule()
    assert [schedule.at(step) for step in (50, 51)] == [0, 8]


def test_the_learning_rate_rises_over_a_tenth_and_falls_to_almost_nothing():
    config = TrainingConfig(steps=100)
    shares = [config.learning_rate_share(step) for step in range(100)]
    assert shares[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert shares[55] == pytest.approx(0.5)
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert 0 < shares[99] < 1e-3
    assert TrainingConfig(steps=1).learning_rate_share(0) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps: expected a whole number of at least 1; got 0"),
        ({"steps": 1.5}, "steps: expected a whole number"),
        ({"batch_size": 1}, "batch_size: expected a whole number of at least 2"),
        ({"validate_every": 0}, "validate_every: expected"),
        ({"seed": -1}, "seed: expected"),
        ({"learning_rate": math.nan}, "learning_rate: expected a finite number"),
        ({"weight_decay": -1.0}, "weight_decay: expected"),
        ({"regularizer": "l2"}, "regularizer: expected one of flops, unbiased-flops, l1, none; got 'l2'"),
        ({"ramp_start": 0.8}, "ramp: expected 0 <= ramp_start <= ramp_end <= 1"),
        ({"flops_per_document": 0.0}, "flops_per_document: expected a finite number above 0"),
        ({"weight": math.inf}, "weight: expected a finite number"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        TrainingConfig(**settings)
