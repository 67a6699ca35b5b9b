"""The weight's course over the steps."""

import math

import pytest

from gossamer.errors import ConfigError
from gossamer.learning import QuadraticSchedule


def test_the_weight_grows_with_the_square_of_the_step_and_then_holds():
    schedule = QuadraticSchedule(weight=3.0, warmup_steps=10)
    assert [schedule.at(step) for step in (0, 1, 5, 10, 11, 1000)] == pytest.approx([0, 0.03, 0.75, 3, 3, 3])


def test_growth_waits_for_the_start_step():
    schedule = QuadraticSchedule(weight=1.0, warmup_steps=2, start_step=4)
    assert [schedule.at(step) for step in range(8)] == [0, 0, 0, 0, 0, 0.25, 1, 1]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"weight": -1.0}, "weight"),
        ({"weight": math.nan}, "weight"),
        ({"warmup_steps": 0}, "warmup_steps"),
        ({"start_step": -1}, "start_step"),
    ],
)
def test_settings_out_of_range_are_refused(settings, name):
    with pytest.raises(ConfigError, match=f"{name}: expected"):
        QuadraticSchedule(**{"weight": 1.0, "warmup_steps": 1, **settings})
